"""Incidents written down as literals, any incident there could be, and one of each notifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import strategies as st
from pydantic import SecretStr

from alerts.models import Answered, Incident, Notification, NotifyReason, Status
from alerts.notifiers.alertmanager import Alertmanager
from alerts.notifiers.interface import Notifier
from alerts.notifiers.pagerduty import PagerDuty
from alerts.notifiers.slack import Slack
from alerts.notifiers.webhook import Webhook
from alerts.sender import Sender
from auditor.values.findings import Severity, fingerprint
from auditor.values.guide import Guide
from tests.doubles.pagerduty import ROUTING_KEY
from tests.doubles.server import Double, Reply
from tests.doubles.slack import SECRET_PATH

SINCE = datetime(2026, 3, 1, 2, 59, 42, tzinfo=UTC)
NOW = SINCE + timedelta(minutes=7)
URL_SECRET = "hook-4f1d9c7a55"
USER_SECRET = "p4ssw0rd-of-ours"
SIGNING_SECRET = "whsec-0a1b2c3d4e5f"

PAIR = Incident(
    fingerprint=fingerprint("duplicate-address", "10.0.0.1"),
    check="duplicate-address",
    severity=Severity.CRITICAL,
    subject="10.0.0.1",
    address="10.0.0.1/32",
    summary="10.0.0.1 is held by edge-fra-1 and edge-sin-1.",
    guess="Probably both were given the first address of the pool when the registry could not be read.",
    nodes=("edge-fra-1", "edge-sin-1"),
    regions=("fra", "sin"),
    routing=(
        ("edge-fra-1", 1, (("ams", 1),)),
        ("edge-sin-1", 6, (("ams", 1), ("sin", 5))),
        ("nobody", 2, (("", 2),)),
    ),
    follows=(("displaced-allowed-ips", 3), ("split-routing", 1)),
    since=SINCE,
)
ANSWERED = replace(
    PAIR,
    answers=(
        Answered("nats", "edge-fra-1", "edge-fra-1", 9, (("ams", 3), ("fra", 6))),
        Answered("nats", "", "<!channel>", 2, (("sin", 2),)),
        Answered("nats", "", "", 1, (("", 1),), "timed out"),
    ),
    disagreement="worker-iad-9 routes it to edge-sin-1, and edge-fra-1 answers.",
)
"""The pair, with those who answered at its address: one of the two, a server that is no node, and nobody."""
DRAINED = replace(
    PAIR, drained=(("edge-sin-1", "since 2026-03-01 02:40 UTC by anna (consul-maintenance): <!channel>"),)
)
"""The pair, one of which is out of production."""
SENDER = Sender(
    Guide(("ssh", "audit-1", "wgaudit"), docs_url="https://docs.example.net/findings"),
    "1.2.3",
    frozenset({"duplicate-address"}),
)
"""Sender whose readers log in to run wgaudit, and have its documentation in a browser."""
HOSTILE_NAMES = (
    "<!channel>",
    "<https://evil.example|click>",
    "`` ``` ``",
    "a\nb\r\n*c*",
    "\x1b[31mred\x00",
    "\u202egnp.exe\u2028",
    "lone\udc80surrogate",
    'quote"back\\slash',
    "&amp;",
    "名前" * 15,
    "n" * 5000,
    "",
)


def firing(
    incident: Incident = PAIR, reason: NotifyReason = NotifyReason.FIRST_NOTIFICATION, notifier: str = "sink"
) -> Notification:
    """An incident that stands."""
    return Notification(notifier, reason, Status.FIRING, incident)


def resolved(incident: Incident = PAIR, notifier: str = "sink") -> Notification:
    """An incident that is over."""
    return Notification(notifier, NotifyReason.RESOLVED, Status.RESOLVED, incident)


def trial(status: Status = Status.FIRING, notifier: str = "sink") -> Notification:
    """Somebody tries the way."""
    return Notification(notifier, NotifyReason.TEST, status, PAIR)


words = st.text(st.characters(exclude_categories=()), max_size=60) | st.sampled_from(HOSTILE_NAMES)
_many = st.tuples(words, st.integers(0, 3000)).map(
    lambda item: tuple(f"{item[0]}{n}" for n in range(item[1]))
)
_names = st.lists(words, max_size=5).map(tuple) | _many
_seen = st.dictionaries(words, st.integers(1, 20_000), max_size=4).map(lambda seen: tuple(seen.items()))
_times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def _picks(
    picks: list[tuple[str, tuple[tuple[str, int], ...]]], repeat: int
) -> tuple[tuple[str, int, tuple[tuple[str, int], ...]], ...]:
    return tuple((to, sum(count for _, count in seen), seen) for to, seen in picks) * repeat


def _answers(
    answers: list[tuple[str, str, tuple[tuple[str, int], ...]]], repeat: int
) -> tuple[Answered, ...]:
    made = (
        Answered(
            "nats", node, said, sum(count for _, count in seen), seen, "" if node or said else "timed out"
        )
        for node, said, seen in answers
    )
    return tuple(made) * repeat


def _incident(subject: str, **values: object) -> Incident:
    mark = fingerprint(str(values["check"]), subject)
    return Incident(fingerprint=mark, subject=subject, **values)  # type: ignore[arg-type]


incidents = st.builds(
    _incident,
    check=st.sampled_from(("duplicate-address", "split-routing", "audit-blind")),
    severity=st.sampled_from(Severity),
    subject=words,
    address=st.sampled_from(("", "10.0.0.1/32", "fdaa::1/128")),
    summary=words | st.integers(0, 20_000).map(lambda size: '"<&`\\' * (size // 5)),
    guess=words,
    nodes=_names,
    regions=_names,
    routing=st.builds(_picks, st.lists(st.tuples(words, _seen), max_size=4), st.sampled_from((1, 1, 300))),
    follows=st.lists(st.tuples(words, st.integers(1, 999)), max_size=4).map(tuple),
    answers=st.builds(
        _answers, st.lists(st.tuples(words, words, _seen), max_size=4), st.sampled_from((1, 12))
    ),
    disagreement=words,
    drained=st.lists(st.tuples(words, words), max_size=4).map(tuple),
    since=st.none() | _times,
    not_seen_since=st.none() | _times,
    mesh=st.sampled_from(("", "prod-eu")),
)
notifications = st.one_of(
    st.builds(
        Notification,
        st.just("sink"),
        st.sampled_from([reason for reason in NotifyReason if reason is not NotifyReason.RESOLVED]),
        st.just(Status.FIRING),
        incidents,
    ),
    incidents.map(resolved),
)


class Kind(NamedTuple):
    """A notifier, and what it is told when all is well."""

    name: str
    make: Callable[[str], Notifier]
    """From the base URL of the server that it is to call."""
    yes: Reply
    secrets: tuple[str, ...]


KINDS = (
    Kind(
        "slack",
        lambda base: Slack("sink", SecretStr(base + SECRET_PATH), timeout=5.0),
        Reply(200, b"ok"),
        (SECRET_PATH, SECRET_PATH.rpartition("/")[2]),
    ),
    Kind(
        "pagerduty",
        lambda base: PagerDuty("sink", SecretStr(ROUTING_KEY), api=base, timeout=5.0),
        Reply(202, b'{"status":"success","message":"Event processed","dedup_key":"x"}'),
        (ROUTING_KEY,),
    ),
    Kind(
        "alertmanager",
        lambda base: Alertmanager(
            "sink", SecretStr(base.replace("://", f"://audit:{USER_SECRET}@") + f"/{URL_SECRET}"), timeout=5.0
        ),
        Reply(200),
        (USER_SECRET, URL_SECRET),
    ),
    Kind(
        "webhook",
        lambda base: Webhook(
            "sink", SecretStr(f"{base}/in?token={URL_SECRET}"), secret=SecretStr(SIGNING_SECRET), timeout=5.0
        ),
        Reply(200, b"thanks"),
        (URL_SECRET, SIGNING_SECRET),
    ),
)


def patient(kind: Kind, double: Double) -> Notifier:
    """The notifier, aimed at the double."""
    return kind.make(double.url)
