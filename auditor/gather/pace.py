"""PURE: number of nodes asked at once: a window that adapts to the network, as a state machine."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass

START = 8
"""Nodes asked at once before anything is known. Under the 10 logins at which sshd begins to refuse some."""
FEWEST = 16
"""Answers over which a rate is measured, at least."""
GAIN = 0.3
"""Share of a larger window's expected gain that must come as more answers a second to keep the window."""
STALLS = 2
"""Windows without that gain until growing stops: one may be chance."""
WAIT = 4
"""Quiet windows until more is tried again; doubled where that fails, up to `LONGEST_WAIT`, halved where not."""
LONGEST_WAIT = 32
RESETS = 0.05
"""Share of lost connections that is a sign of overload, beyond those that are a node's own fault."""
FIRST_LATE_AFTER = 0.5
"""Seconds for an answer before it is known how long one takes."""
LEAST_LATE_AFTER = 0.25
"""Seconds that a node may always take."""
_KEPT = 128
"""Answers that say how long one takes."""


@dataclass(slots=True, eq=False)
class Turn:
    """Try of one node."""

    began: float
    round: int
    """Number of cuts of the window before it began."""
    counted: bool
    """True: it takes up room in the window."""


@dataclass(slots=True)
class _Cut:
    """State before the window was cut, and the signs that brought the cut about."""

    window: int
    ceiling: int
    wait: int
    signs: int


class Pace:
    """Decides whether one more node may be asked, from the outcomes so far and their times.

    Times are seconds of any steady clock. `most`: bound on the window. `room`: bound on all that is under way.


    The window grows twofold a round (slow start), then by small steps, up to `most`. It is halved at signs of
    overload, and stays where more nodes at once bring no more answers a second; now and then more is tried. A
    node that takes longer than `late_after` is only waited for: it takes no room in the window any more, but it
    does in `room`, the bound on all that is under way.
    """

    def __init__(self, most: int, room: int | None = None) -> None:
        self._room = room if room is None else max(1, room)
        self._most = max(1, most if room is None else min(most, room))
        self._window = self._target = min(START, self._most)
        self._ceiling = self._most
        self._climbing = True
        self._active = self._open = 0
        self._round = 0
        self._stalls = self._quiet = 0
        self._wait = WAIT
        self._best: tuple[int, float] | None = None
        """Window that a larger one is compared with, and its answers a second."""
        self._times: deque[float] = deque(maxlen=_KEPT)
        self._late_after = FIRST_LATE_AFTER
        self._answered = self._faulty = 0
        self._undo: _Cut | None = None
        # Of this round alone:
        self._settling = self._measured = self._answers = self._late_answers = self._lates = self._signs = 0
        self._since = 0.0
        self._begin_round()

    @property
    def window(self) -> int:
        """Nodes that may be asked at once now."""
        return self._window

    @property
    def under_way(self) -> int:
        """Nodes that were asked and have not ended, those that are only waited for among them."""
        return self._open

    @property
    def late_after(self) -> float:
        """Seconds after which a node is only waited for: a little longer than most answers take."""
        return self._late_after

    def free(self, *, counted: bool = True) -> bool:
        """Tell whether one more may be asked. Not `counted`: one that is only waited for from its beginning."""
        return (not counted or self._active < self._window) and (
            self._room is None or self._open < self._room
        )

    def begin(self, now: float, *, counted: bool = True) -> Turn:
        """Count a node that is asked from now on."""
        self._open += 1
        self._active += counted
        return Turn(now, self._round, counted)

    def late(self, turn: Turn) -> None:
        """Note that a node has not answered within `late_after`: it makes room."""
        if not turn.counted:
            return
        turn.counted = False
        self._active -= 1
        self._lates += turn.round == self._round
        # Where nearly nobody answers in time, it is the way to them that is full or down, and not the nodes.
        # Dead nodes look the same: never below the start, so that they cannot bring the sweep to a halt.
        if self._window > START and self._lates >= 2 * self._window and self._lates > 9 * self._answers:
            self._cut(max(START, self._window // 2))

    def end(self, turn: Turn, now: float, *, answered: bool) -> None:
        """Note the end of a try: the node `answered`, whatever it said, or it did not."""
        self._open -= 1
        self._active -= turn.counted
        if not answered:
            turn.counted = False
            return
        self._answered += 1
        self._answers += 1
        self._late_answers += not turn.counted
        turn.counted = False
        self._times.append(now - turn.began)
        if self._window < self._target:
            # Each answer lets one more begin, beside its successor: no burst.
            self._window += 1
        if self._settling > 0:
            self._settling -= 1
            self._since = now
            return
        self._measured += 1
        if self._measured >= max(FEWEST, self._window):
            self._end_round(self._measured / max(now - self._since, 1e-6))

    def overloaded(self, turn: Turn) -> None:
        """Note a sign of too much at once: a lost connection, a timeout of a node that answers otherwise."""
        if turn.round != self._round:
            return  # it began before the last cut, and says nothing of what is under way since
        self._signs += 1
        seen = max(FEWEST, self._window, self._answers + self._signs)
        own = self._faulty / (self._answered + self._faulty + FEWEST)
        excess = self._signs - 2 * own * seen
        if excess >= max(2, RESETS * seen):
            self._undo = _Cut(self._window, self._ceiling, self._wait, self._signs)
            self._ceiling = max(1, min(self._ceiling, self._window * 4 // 5))
            self._wait = min(LONGEST_WAIT, 4 * self._wait)
            self._cut(max(1, self._window // 2))
        elif excess > 0:
            # One may be chance; to do with one less until more is known costs next to nothing.
            self._window = self._target = max(1, self._window - 1)

    def faulty(self) -> None:
        """Note that a node's connection was lost twice, the second time after a pause: that is its own fault.

        Such nodes must not hold up the others: what they took from the window is given back.
        """
        self._faulty += 1
        self._target = min(self._ceiling, self._target + 1)
        if self._undo is None:
            return
        self._undo.signs -= 2
        if self._undo.signs <= 0:
            self._ceiling, self._wait = self._undo.ceiling, self._undo.wait
            self._target = max(self._target, self._undo.window)
            self._undo = None

    def _cut(self, window: int) -> None:
        self._window = self._target = window
        self._climbing = False
        self._round += 1
        self._best = None
        self._stalls = self._quiet = 0
        self._begin_round()

    def _begin_round(self) -> None:
        # What ends first was begun under the old window: it is let pass before a rate is measured.
        self._settling = self._target
        self._since = 0.0
        self._measured = self._answers = self._late_answers = self._lates = self._signs = 0

    def _end_round(self, rate: float) -> None:
        self._late_after = max(LEAST_LATE_AFTER, 1.25 * statistics.quantiles(self._times, n=4)[2])
        if 3 * self._late_answers > self._answers:
            # Most were under way beside the window, for `late_after` was too short: the rate is not the window's.
            self._begin_round()
            return
        window, rate_before = self._best or (self._window, rate)
        promised = rate_before * (1 + GAIN * (self._window / window - 1))
        if self._window <= window:
            self._best = (self._window, (rate_before + rate) / 2 if self._window == window else rate)
            self._grow()
        elif rate >= promised:
            self._best, self._stalls = (self._window, rate), 0
            self._grow()
        elif self._stalls + 1 < STALLS:
            self._stalls += 1
        else:
            # No more answers a second than with fewer at once: the rest only waits somewhere on the way.
            self._window = self._target = self._ceiling = window
            self._climbing = False
            self._stalls = self._quiet = 0
            self._wait = min(LONGEST_WAIT, 4 * self._wait)
        self._begin_round()

    def _grow(self) -> None:
        if self._window >= self._ceiling < self._most:
            self._quiet += 1
            if self._quiet < self._wait:
                return
            self._quiet, self._wait = 0, max(1, self._wait // 2)
            self._ceiling = min(self._most, max(self._ceiling + 1, self._ceiling * 5 // 4))
            self._target = self._ceiling
        elif self._climbing:
            self._target = min(self._ceiling, 2 * self._window)
        else:
            self._target = min(self._ceiling, self._window + max(1, self._most // 16))
