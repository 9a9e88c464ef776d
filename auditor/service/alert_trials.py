"""Trials of what tells people: notifiers, the heartbeat, the state and its outbox. Nothing is sent to anybody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

from alerts.notifiers.alertmanager import Alertmanager
from alerts.notifiers.heartbeat import TIMEOUT
from alerts.notifiers.http import NO_OPTIONS, CallOptions, post
from alerts.notifiers.interface import Notifier
from alerts.notifiers.pagerduty import PagerDuty
from alerts.notifiers.slack import Slack
from alerts.notifiers.trial_connection import try_connection
from alerts.notifiers.webhook import Webhook
from auditor.errors import ConfigError, DeliveryError, StateBusy, StateError
from auditor.service.alert_parts import build_heartbeat, build_notifiers
from auditor.service.alert_state import state_place, state_tables
from auditor.service.consul_trials import CORRECT
from auditor.service.outbox import read_outbox
from auditor.settings.alerts import AnyNotifier
from auditor.settings.file import Config
from auditor.state.lock import exclusive
from auditor.state.opening import inspect_store, open_store
from auditor.state.places import StatePlace, place_name
from auditor.values.clock_skew import KEEP_RIGHT, are_apart, skew_words
from auditor.values.guide import INSTALLED, Guide
from auditor.values.text import count
from auditor.values.trials import Trial, TrialOutcome

_TIRED = 3
"""Tries after which a waiting notification is worth a warning."""


@dataclass(frozen=True, slots=True)
class _NotifierHost:
    """Where the calls of a notifier go."""

    url: SecretStr
    timeout: float
    options: CallOptions
    ready: SecretStr | None = None
    """URL that answers whether the service is ready, and changes nothing there; None: there is none."""


async def notifier_trials(config: Config) -> list[Trial]:
    """Try each notifier as far as nobody is paged by it."""
    return [await _notifier(config, settings) for settings in config.notifiers]


async def _notifier(config: Config, settings: AnyNotifier) -> Trial:
    part, tried = f"notifier {settings.name}", f"{settings.type}: its settings and secret"
    try:
        (notifier,) = build_notifiers(config.model_copy(update={"notifiers": (settings,)}))
    except ConfigError as error:
        return Trial(part, tried, str(error), TrialOutcome.FAILS, CORRECT)
    way = _destination(notifier)
    if way is None:
        return Trial(part, tried, "they can be used", TrialOutcome.WORKS)
    tried = f"{tried}, then {'its /-/ready' if way.ready else 'a connection'}; nothing was sent"
    try:
        got = await try_connection(way.url, timeout=way.timeout, options=way.options)
        if way.ready is not None:
            got = f"{got}; {await _readiness(way.ready, way)}"
    except DeliveryError as error:
        todo = "check its url, certificates and the way to it"
        return Trial(part, tried, str(error), TrialOutcome.FAILS, todo)
    return Trial(part, tried, got, TrialOutcome.WORKS)


def _destination(notifier: Notifier) -> _NotifierHost | None:
    if isinstance(notifier, Alertmanager):
        return _NotifierHost(notifier.url, notifier.timeout, notifier.options, _ready(notifier.url))
    if isinstance(notifier, Slack | Webhook):
        return _NotifierHost(notifier.url, notifier.timeout, notifier.options)
    if isinstance(notifier, PagerDuty):
        return _NotifierHost(SecretStr(notifier.api), notifier.timeout, notifier.options)
    return None


def _ready(url: SecretStr) -> SecretStr | None:
    """Return the URL of an Alertmanager's readiness, beside the API's path; None for a URL that is none."""
    try:
        split = urlsplit(url.get_secret_value())
    except ValueError:
        return None
    base = split.path.rstrip("/").removesuffix("/alerts").removesuffix("/v2").removesuffix("/api")
    return SecretStr(urlunsplit(split._replace(path=f"{base}/-/ready")))


async def _readiness(ready: SecretStr, way: _NotifierHost) -> str:
    """Ask an Alertmanager whether it is ready. Raises `DeliveryError` where it says that it is not."""
    # A service that only speaks the API has no such page, and that says nothing against it.
    options = replace(way.options, accept=(*way.options.accept, HTTPStatus.NOT_FOUND.value))
    answer = await post(ready, b"", timeout=way.timeout, options=options, method="GET")
    if answer.status == HTTPStatus.NOT_FOUND:
        return "it has no /-/ready, as services that only speak its API"
    return f"/-/ready says {answer.detail}"


async def heartbeat_trials(config: Config) -> list[Trial]:
    """Try to reach the heartbeat's service. It is not called: a call would say that a sweep did its work."""
    part, tried = "heartbeat", "its settings, then a connection; it was not called"
    try:
        heartbeat = build_heartbeat(config)
    except ConfigError as error:
        return [Trial(part, tried, str(error), TrialOutcome.FAILS, CORRECT)]
    if heartbeat is None:
        return []
    try:
        got = await try_connection(heartbeat.url, timeout=TIMEOUT, options=NO_OPTIONS)
    except DeliveryError as error:
        todo = "check alerts.heartbeat_url and the way to it"
        return [Trial(part, tried, str(error), TrialOutcome.FAILS, todo)]
    return [Trial(part, tried, got, TrialOutcome.WORKS)]


# -- the state


def state_trials(config: Config, guide: Guide = INSTALLED) -> Iterator[Trial]:
    """Try the state: its folder, or the database, its lock and its outbox. Changes nothing in it."""
    path = config.state.path
    part = "state"
    try:
        place = state_place(config)
    except ConfigError as error:
        yield Trial(part, "read its URL", str(error), TrialOutcome.FAILS, CORRECT)
        return
    name = place_name(place)
    try:
        condition = inspect_store(place)
    except StateError as error:
        todo = "docs/alerts.md#the-state-database says what to do"
        yield Trial(part, f"open {name}", str(error), TrialOutcome.FAILS, todo)
        yield Trial("outbox", "count what waits", "the state cannot be opened", TrialOutcome.UNTRIED)
        return
    if condition is None:
        yield _folder(path) if place is path else _empty_database(name)
        return
    if not condition.writable:
        todo = "give the file and its folder to the user that runs sweep --alert"
        yield Trial(part, f"open {name}", "it cannot be written by this user", TrialOutcome.FAILS, todo)
    else:
        yield _lock(place, name, outdated=condition.outdated)
    if condition.outdated:
        got = "an older wgaudit wrote the state"
        yield Trial(
            "outbox", "count what waits", f"{got}; the next `sweep --alert` renews it", TrialOutcome.WARNS
        )
    else:
        yield _outbox(config, guide)
        if config.state.on_server:
            yield from _lease(place, name)


def _folder(path: Path) -> Trial:
    """Try whether the folder of a database that is not there yet can be written."""
    part, folder = "state", path.parent
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    tried = f"write into {folder}"
    try:
        with TemporaryFile(dir=existing):
            pass
    except OSError as error:
        todo = "set state.path to a folder that this user may write to"
        return Trial(part, tried, f"cannot write to {existing}: {error.strerror}", TrialOutcome.FAILS, todo)
    got = "writable" if existing == folder else "not there yet; it can be made"
    return Trial(part, tried, f"{got}; `sweep --alert` makes the database", TrialOutcome.WORKS)


def _empty_database(name: str) -> Trial:
    got = "it answers, and has no state yet; `sweep --alert` makes it"
    return Trial("state", f"open {name}", got, TrialOutcome.WORKS)


def _lock(place: StatePlace, name: str, *, outdated: bool) -> Trial:
    part, tried = "state", f"open {name}, begin to write"
    schema = "older schema, renewed by the next writer" if outdated else "schema up to date"
    if not isinstance(place, Path):
        return Trial(part, tried, f"it answers, {schema}, can be written", TrialOutcome.WORKS)
    path, tried = place, f"{tried}, take its lock"
    try:
        with exclusive(path, 0):
            return Trial(
                part, tried, f"whole, {schema}, can be written, the lock is free", TrialOutcome.WORKS
            )
    except StateBusy as error:
        # A watch holds it for as long as it runs, as it should.
        outcome = TrialOutcome.WORKS if error.by_watch else TrialOutcome.WARNS
        return Trial(part, tried, f"whole, {schema}, can be written; {error}", outcome)
    except StateError as error:
        return Trial(
            part, tried, str(error), TrialOutcome.FAILS, f"look at the files beside {os.fspath(path)}"
        )


def _lease(place: StatePlace, name: str) -> Iterator[Trial]:
    """Read who of the auditors that share the state tells people, and how the clocks stand. Asks for no lease."""
    part, tried = "leader", f"read who tells people from {name}"
    try:
        with closing(open_store(place, state_tables())) as store:
            from auditor.state.lease import leader_in

            row = leader_in(store)
    except StateError as error:
        yield Trial(part, tried, str(error), TrialOutcome.FAILS, "look at the server")
        return
    if row is None or not row.holder:
        yield Trial(part, tried, "nobody has told anybody yet", TrialOutcome.WORKS)
    else:
        held = f"{row.holder}, epoch {row.epoch}"
        lasts = f"{held}, for {row.left:.0f} s more at least"
        got = lasts if row.left > 0 else f"nobody now; the last one was {held}"
        yield Trial(part, tried, got, TrialOutcome.WORKS)
    if row is not None:
        yield _clock(row.clock_ahead)


def _clock(ahead: float) -> Trial:
    """Tell whether this machine's clock and the server's agree. ahead: seconds by which this one is ahead."""
    part, tried = "clock", "compare this machine's with the database server's"
    got = f"it is {skew_words(ahead)} that one"
    if are_apart(ahead):
        return Trial(part, tried, got, TrialOutcome.WARNS, KEEP_RIGHT)
    return Trial(part, tried, got, TrialOutcome.WORKS)


def _outbox(config: Config, guide: Guide) -> Trial:
    part, tried = "outbox", "count what waits, and what was refused"
    try:
        outbox = read_outbox(config)
    except StateError as error:
        return Trial(part, tried, str(error), TrialOutcome.FAILS, "look at the file")
    waiting, dead = (outbox.waiting, outbox.dead) if outbox is not None else ((), ())
    tired = sum(row.attempts >= _TIRED for row in waiting)
    got = f"{len(waiting):,} waiting, {count(len(dead), 'dead letter')}"
    if tired:
        got += f"; {tired:,} tried {_TIRED} times or more"
    if dead or tired:
        again = f", {guide.mention('alerts retry')} sends the dead ones again" if dead else ""
        todo = f"{guide.mention('alerts list')} shows them{again}"
        return Trial(part, tried, got, TrialOutcome.WARNS, todo)
    return Trial(part, tried, got, TrialOutcome.WORKS)
