"""One datacenter of Consul, followed: a query that waits for a change, and plain reads wherever it cannot be believed.

What an answer of a waiting query proves is little: a return may mean nothing, its index may be of a time before a
restore, and it keeps the rights that its query began with. So contents are compared, an index that goes back and every
error begin anew at 0, and what shrank is read again by a plain read before it is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from auditor.errors import GapReason, RegistryError
from auditor.registry.agent import without
from auditor.registry.datacenter_read import joined, prefix_hint
from auditor.registry.follow.contents import Contents
from auditor.registry.follow.rhythm import AnswerBudget, Pauses
from auditor.registry.follow.rights import may_read, token_is_known
from auditor.registry.interface import RegistryNews
from auditor.values.models import RegistryReading
from auditor.values.text import count, for_detail

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from auditor.registry.datacenter_read import DatacenterRead
    from auditor.registry.follow.agent_http import AgentAnswer, AgentHttp
    from auditor.settings.consul import ConsulSettings

WAIT = 15.0
"""Seconds for which Consul holds an answer back, and up to a 16th more. Two of them in a row end within 35 s: of rights
that were taken away, the second one is the first to know."""
SHORTEST_WAIT = 4.0
"""Seconds, where something in between cuts a query that waits longer."""
DOUBTFUL = 4.0
"""Seconds between two looks while nothing is there, or rights are missing."""
SAID_AGAIN_AFTER = 600.0
"""Seconds after which a cut that heals at once is told again."""


class DatacenterFollower:
    """Follower of one datacenter's registrations."""

    def __init__(
        self,
        http: AgentHttp,
        settings: ConsulSettings,
        token: SecretStr | None,
        read: DatacenterRead,
        datacenter: str,
        tell: Callable[[RegistryNews], None],
        wait: float,
        answers: dict[str, datetime],
    ) -> None:
        """datacenter: "" is the agent's own. tell: gets all news. wait: seconds for which an answer is held back.

        answers: takes the time of the newest one.
        """
        self._http, self._settings, self._token, self._read = http, settings, token, read
        self._datacenter = datacenter
        self._tell, self._answers = tell, answers
        self._index = 0
        """0: read plainly next."""
        self._pause = 0.0
        """Seconds before the next plain read."""
        self._woken = False
        """A waiting query was woken, and what it brought is to be read plainly."""
        self._wait = self._longest_wait = wait
        self._doubtful = min(DOUBTFUL, wait)
        self._pauses, self._budget = Pauses(), AnswerBudget()
        self._last: Contents | None = None
        """Contents that were told; None: none yet, or what was told last is that nothing can be read."""
        self._whole: Contents | None = None
        """Contents of the last reading, whatever came after it."""
        self._digest = b""
        self._gap: GapReason | None = None
        """Reason told for which nothing can be read."""
        self._failing_since: float | None = None
        self._before_at: datetime | None = None
        self._could_read: bool | None = None
        """The token could read the prefix itself when registrations were read."""
        self._hidden = False
        """Rights were lost: what is read is not all."""
        self._events: list[str] = []
        self._cuts: dict[GapReason, float] = {}
        """When a cut was told, by its reason."""
        self._cut_at = 0.0

    async def run(self) -> None:
        """Follow until cancelled."""
        async with self._http:
            await self._follow()

    async def _follow(self) -> None:
        while True:
            waiting = self._index > 0
            try:
                if waiting:
                    await asyncio.sleep(self._budget.take(time.monotonic()))
                    await self._wait_for_change()
                else:
                    await asyncio.sleep(self._pause)
                    woken, self._woken = self._woken, False
                    await self._read_plainly(woken=woken)
            except RegistryError as error:
                await self._fail(error, waiting=waiting)

    # -- asking

    async def _wait_for_change(self) -> None:
        if time.monotonic() - self._cut_at > SAID_AGAIN_AFTER:
            self._wait = self._longest_wait
        wait = self._wait if self._last is not None and self._last.nodes else min(self._wait, self._doubtful)
        params = [*self._read.params, ("index", str(self._index)), ("wait", f"{wait * 1000:.0f}ms")]
        answer = await self._http.read(self._read.path, params, indexed=True, waits=wait * 17 / 16)
        index = max(1, answer.index or 0)
        if index < self._index:
            self._events.append(
                f"Consul's index{self._place} went back from {self._index} to {index}: a restore from a snapshot, "
                "or a cluster made anew; read anew"
            )
            self._begin_anew()
            return
        self._index = index
        self._pauses.reset()
        digest = _digest(answer)
        if digest == self._digest:
            self._note_answer(datetime.now(UTC))
            return
        if answer.missing is None:
            reading = self._reading(answer)
            contents = Contents(reading)
            if self._last is not None and self._last.same_as(contents):
                self._digest = digest
                self._note_answer(datetime.now(UTC))
                return
            if self._whole is not None and not self._whole.lost_in(contents) and not reading.gaps:
                self._digest = digest
                self._take(reading, contents, confirmed=False, woken=True)
                return
        self._begin_anew()
        self._woken = True

    async def _read_plainly(self, *, woken: bool) -> None:
        """Read at once, by a consistent read that is believed. woken: a waiting query was woken before it."""
        answer = await self._http.read(self._read.path, self._read.params, indexed=True)
        if answer.missing is not None:
            reading = await self._missing(answer.missing)
            contents = Contents(reading)
        else:
            reading = self._reading(answer)
            reading, contents = await self._looked_at_rights(reading, Contents(reading))
        self._digest, self._pause = _digest(answer), self._doubtful
        self._index = 0 if self._hidden else max(1, answer.index or 0)
        self._pauses.reset()
        self._take(reading, contents, confirmed=True, woken=woken, index=answer.index)

    def _reading(self, answer: AgentAnswer) -> RegistryReading:
        asked = self._http.asked(self._read.path, self._read.params)
        return self._read.decoded(answer.body, asked, self._http.hint, filtered=answer.filtered)

    # -- rights

    async def _missing(self, missing: RegistryError) -> RegistryReading:
        """Make the reading of a prefix under which nothing is, or nothing that may be read."""
        allowed = await may_read(self._http, self._settings, self._datacenter)
        prefix = for_detail(self._settings.prefix)
        if allowed is False and self._could_read:
            self._lose_rights(await token_is_known(self._http, self._datacenter))
            detail = f"{self._http.asked(self._read.path, self._read.params)}: the token may read it no more"
            return RegistryReading(gaps=(self._read.gap(RegistryError(GapReason.CONSUL_FORBIDDEN, detail)),))
        self._hidden = False
        if self._whole is not None and self._whole.nodes:
            self._events.append(f"the last key under {prefix}{self._place} is gone")
        hint = await self._hint() if self._whole is None and self._gap is None else ""
        error = RegistryError(missing.reason, joined(missing.detail, hint))
        return RegistryReading(gaps=(self._read.gap(error),))

    async def _looked_at_rights(
        self, reading: RegistryReading, contents: Contents
    ) -> tuple[RegistryReading, Contents]:
        """Add a gap to a reading that lacks nodes because the token may read them no more."""
        lost = self._whole.lost_in(contents) if self._whole is not None else frozenset()
        if self._could_read and not lost and not self._hidden:
            return reading, contents
        allowed = await may_read(self._http, self._settings, self._datacenter)
        if allowed is not False or not self._could_read:
            if self._hidden:
                self._events.append(f"the token has its rights{self._place} again")
            self._hidden, self._could_read = False, allowed
            return reading, contents
        self._lose_rights(await token_is_known(self._http, self._datacenter))
        detail = (
            f"{self._http.asked(self._read.path, self._read.params)}: the token may not read all of it any more, and "
            f"Consul leaves out what it may not read: {count(len(lost), 'node')} fewer than before"
        )
        gap = self._read.gap(RegistryError(GapReason.CONSUL_FILTERED, detail))
        hidden = RegistryReading(reading.registrations, reading.invalid, (*reading.gaps, gap), reading.others)
        return hidden, Contents(hidden)

    def _lose_rights(self, known: bool | None) -> None:
        if not self._hidden:
            why = "Consul knows it no more" if known is False else "its policies were changed"
            self._events.append(f"the token lost its rights{self._place}: {why}")
        self._hidden = True

    async def _hint(self) -> str:
        """Suggest an existing prefix in place of the missing one; "" where none can be found."""
        hint = prefix_hint(self._settings.prefix)
        try:
            folder = next(hint)
            while True:
                folder = hint.send(await self._http.keys(folder, self._datacenter))
        except StopIteration as suggested:
            return str(suggested.value)
        except RegistryError:
            return ""  # the gap stands without it; it would only have been a help

    # -- telling

    def _take(
        self,
        reading: RegistryReading,
        contents: Contents,
        *,
        confirmed: bool,
        woken: bool,
        index: int | None = None,
    ) -> None:
        """Tell a reading where it is not as told, or where something befell the following."""
        now = datetime.now(UTC)
        nothing = not contents.nodes and bool(reading.gaps)
        if self._failing_since is not None:
            seconds = time.monotonic() - self._failing_since
            self._events.append(f"Consul answers again{self._place}, after {seconds:.0f} s")
        self._failing_since = None
        same = self._last is not None and self._last.same_as(contents)
        before_at = self._before_at
        self._note_answer(now)
        self._last, self._gap = contents, (reading.gaps[0].reason if nothing else None)
        if not self._hidden:
            self._whole = contents
        if same and not self._events:
            return
        self._tell(
            RegistryNews(
                datacenter=self._datacenter,
                reading=reading,
                arrived_at=now,
                confirmed=confirmed,
                index=self._index if index is None else index,
                before_at=before_at,
                woken=woken,
                event=self._event(),
            )
        )

    def _note_answer(self, at: datetime) -> None:
        self._before_at = self._answers[self._datacenter] = at

    async def _fail(self, error: RegistryError, *, waiting: bool) -> None:
        """Begin anew after an error; tell it, unless a waiting query alone failed, and a plain read may heal it."""
        self._begin_anew()
        await self._http.renew()
        detail = without(self._token, error.detail)
        if waiting:
            self._cut(error, detail)
        elif self._failing_since is None or error.reason is not self._gap:
            self._failing_since = self._failing_since or time.monotonic()
            self._gap, self._last = error.reason, None
            if error.reason is GapReason.CONSUL_FORBIDDEN and self._could_read and not self._hidden:
                self._lose_rights(await token_is_known(self._http, self._datacenter))
            self._events.append(detail)
            self._tell(
                RegistryNews(
                    datacenter=self._datacenter,
                    reading=RegistryReading(gaps=(self._read.gap(error),)),
                    arrived_at=datetime.now(UTC),
                    confirmed=True,
                    before_at=self._before_at,
                    event=self._event(),
                )
            )
        self._pause = self._pauses.after_failure(error.retry_after)

    def _cut(self, error: RegistryError, detail: str) -> None:
        now = time.monotonic()
        if error.reason in (GapReason.CONSUL_UNREACHABLE, GapReason.CONSUL_TIMEOUT, GapReason.CONSUL_HTTP):
            # Perhaps a proxy that lets nothing wait so long.
            self._wait, self._cut_at = max(min(SHORTEST_WAIT, self._longest_wait), self._wait / 2), now
        if now - self._cuts.get(error.reason, -SAID_AGAIN_AFTER) >= SAID_AGAIN_AFTER:
            self._cuts[error.reason] = now
            self._events.append(f"a waiting query ended without an answer: {detail}")

    def _begin_anew(self) -> None:
        self._index, self._pause, self._digest = 0, 0.0, b""

    def _event(self) -> str:
        said, self._events = "; ".join(dict.fromkeys(self._events)), []
        return said

    @property
    def _place(self) -> str:
        return f" in {for_detail(self._datacenter)}" if self._datacenter else ""


def _digest(answer: AgentAnswer) -> bytes:
    return hashlib.sha256(answer.body, usedforsecurity=False).digest()
