"""Trials of what a watch needs: its page, waiting queries, nodes that can be followed; and whether one runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from http import HTTPStatus

from auditor.errors import ConfigError, GapReason, StateBusy, StateError
from auditor.gather.collector import Assignment, Heard
from auditor.nodes.table_store import TableStore
from auditor.service import open_files, parts
from auditor.service.advice import ADVICE, advice
from auditor.service.asked_page import ask_page
from auditor.settings.file import Config
from auditor.state.lock import exclusive
from auditor.values.models import Gap, NodeId, Registration
from auditor.values.text import count, listed
from auditor.values.trials import Trial, TrialOutcome
from auditor.watch.page_service import missing_packages
from auditor.watch.web.listener import open_listener

log = logging.getLogger(__name__)

WAITS = 1.5
"""Seconds for which a waiting query is tried after the first answer: one that is refused is refused at once."""
FIRST_WORDS = 60.0
"""Seconds within which each node of the sample says something, or it is told why not."""
_INSTALL = "pip install 'wgaudit[watch]', or set watch.listen = \"\" to go without a page"


async def watch_trials(config: Config, live: int, sample: Sequence[Registration]) -> tuple[Trial, ...]:
    """Try what a watch needs. Changes nothing.

    live: number of nodes that would be followed. sample: nodes that answered, whose following is tried.
    """
    running, runs = await asyncio.to_thread(_running, config)
    return (
        running,
        await asyncio.to_thread(_page, config, runs=runs),
        *await _waiting(config),
        *await _following(config, sample),
        *_open_files(live if not config.collectors.regions or config.collectors.fallback == "local" else 0),
    )


# -- the watch that runs, and its page


def _running(config: Config) -> tuple[Trial, bool]:
    """Tell whether a watch holds the state, or, where that is shared, whether one answers at its page's address."""
    if config.state.on_server:
        runs = config.watch.address is not None and _asked(config).outcome is TrialOutcome.WORKS
        got = "one answers" if runs else "none answers"
        return Trial("watch", "the page at watch.listen", got, TrialOutcome.WORKS), runs
    part, tried = "watch", f"the lock beside {config.state.path}"
    got, runs, outcome = "none runs", False, TrialOutcome.WORKS
    if config.state.path.parent.is_dir():
        try:
            with exclusive(config.state.path, 0):
                pass
        except StateBusy as busy:
            got, runs = f"{'one runs' if busy.by_watch else 'none runs'}: {busy}", busy.by_watch
        except StateError as error:
            got, outcome = str(error), TrialOutcome.UNTRIED
    return Trial(part, tried, got, outcome), runs


def _page(config: Config, *, runs: bool) -> Trial:
    part, address = "watch: its page", config.watch.address
    if address is None:
        return Trial(part, "watch.listen", "none is wanted", TrialOutcome.WORKS)
    if missing := missing_packages():
        return Trial(part, "its packages", f"not installed: {listed(missing)}", TrialOutcome.FAILS, _INSTALL)
    if runs:
        return _asked(config)
    tried = f"listen on {address} for a moment"
    try:
        listener = open_listener(config.watch)
    except ConfigError as error:
        return Trial(part, tried, str(error), TrialOutcome.FAILS, "correct [watch] in the configuration")
    if listener is not None:
        with listener:
            pass
    return Trial(part, tried, "its packages are there, its address is free", TrialOutcome.WORKS)


def _asked(config: Config) -> Trial:
    part, address = "watch: its page", config.watch.address
    tried = f"/-/ready at {address}"
    todo = "look at its log; --listen or another configuration may have it listen elsewhere"
    if address is None:
        return Trial(part, tried, "none is wanted", TrialOutcome.WORKS)
    try:
        status, text = ask_page(config.watch, address, "/-/ready")
    except (OSError, ConfigError) as error:
        got = f"does not answer: {getattr(error, 'strerror', None) or error}"
        return Trial(part, tried, got, TrialOutcome.FAILS, todo)
    if status == HTTPStatus.OK:
        return Trial(part, tried, f"{status} {text}", TrialOutcome.WORKS)
    return Trial(part, tried, f"{status} {text}", TrialOutcome.FAILS, todo)


# -- what it follows


async def _waiting(config: Config) -> list[Trial]:
    """Follow the registry for a moment: its first answers, and whether a query may wait."""
    part, tried = "watch: the registry can be followed", "one waiting query a datacenter, for a moment"
    try:
        follower = parts.build_follower(config)
    except ConfigError as error:
        return [Trial(part, tried, str(error), TrialOutcome.FAILS, "correct the configuration")]
    heard: set[str] = set()
    trouble: list[tuple[GapReason | None, str]] = []
    first = asyncio.Event()

    async def follow() -> None:
        async with aclosing(follower.follow()) as stream:
            async for news in stream:
                heard.add(news.datacenter)
                trouble.extend((gap.reason, gap.detail) for gap in news.reading.gaps)
                if news.event:
                    trouble.append((None, news.event))
                first.set()

    following = asyncio.create_task(follow())
    answered = asyncio.create_task(first.wait())
    await asyncio.wait(
        {following, answered}, timeout=config.consul.timeout + WAITS, return_when=asyncio.FIRST_COMPLETED
    )
    await asyncio.wait({following}, timeout=WAITS)
    for task in (following, answered):
        task.cancel()
    await asyncio.gather(following, answered, return_exceptions=True)
    if not heard:
        return [Trial(part, tried, "no answer", TrialOutcome.FAILS, ADVICE[GapReason.CONSUL_TIMEOUT])]
    if trouble:
        reason, detail = trouble[0]
        todo = (
            advice(reason, detail)
            if reason
            else "let nothing between here and Consul refuse or cut waiting queries"
        )
        return [
            Trial(part, tried, f"{reason}: {detail}" if reason else detail, TrialOutcome.FAILS, todo, reason)
        ]
    got = f"{count(len(heard), 'datacenter')} answered, and queries may wait"
    return [Trial(part, tried, got, TrialOutcome.WORKS)]


async def _following(config: Config, sample: Sequence[Registration]) -> list[Trial]:
    """Follow each node of the sample until its first word."""
    part = "watch: nodes can be followed"
    if not sample:
        return [Trial(part, "-", "no node that answers", TrialOutcome.UNTRIED)]
    first = await _first_words(config, sample)
    tried = listed((item.node.name for item in sample), last=", ")
    if len(first) < len(sample):
        missing = listed(item.node.name for item in sample if item.node not in first)
        got = f"not a word within {FIRST_WORDS:g} s of {missing}"
        return [Trial(part, tried, got, TrialOutcome.FAILS, ADVICE[GapReason.SILENT], GapReason.SILENT)]
    old = [node.name for node, word in first.items() if not word.followed]
    other = [word.seen for word in first.values() if isinstance(word.seen, Gap)]
    if other:
        got = f"{other[0].reason}: {other[0].detail}"
        return [
            Trial(
                part,
                tried,
                got,
                TrialOutcome.FAILS,
                advice(other[0].reason, other[0].detail),
                other[0].reason,
            )
        ]
    if old:
        got = f"{len(old):,} of {len(sample):,} cannot, and are looked at once a round: {listed(old)}"
        todo = advice(GapReason.CANNOT_FOLLOW, "")
        return [Trial(part, tried, got, TrialOutcome.WARNS, todo, GapReason.CANNOT_FOLLOW)]
    return [Trial(part, tried, f"all {len(sample):,} of them", TrialOutcome.WORKS)]


async def _first_words(config: Config, sample: Sequence[Registration]) -> dict[NodeId, Heard]:
    """Follow nodes as a watch would, until each has said something."""
    follower, first = parts.build_node_follower(config, log.info), dict[NodeId, Heard]()
    follower.assign(Assignment(tuple(sample), tuple(sample)))
    try:
        async with asyncio.timeout(FIRST_WORDS), aclosing(follower.follow(TableStore())) as words:
            async for word in words:
                first.setdefault(word.node, word)
                if len(first) == len(sample):
                    break
    except TimeoutError:
        log.info("some nodes have not said anything")
    return first


def _open_files(live: int) -> Iterator[Trial]:
    limit, needed = open_files.most(), live + open_files.SPARE
    part, tried = "watch: open files", f"the hard limit, for {count(live, 'open connection')}"
    if limit >= needed:
        yield Trial(part, tried, f"{limit:,} are allowed", TrialOutcome.WORKS)
    else:
        todo = f"raise it: `ulimit -Hn {needed}`, or LimitNOFILE={needed} of the systemd unit"
        yield Trial(part, tried, f"{limit:,} are allowed, {needed:,} needed", TrialOutcome.WARNS, todo)
