"""`wgaudit watch`, killed again and again while the fleet changes: at any moment, and while it tells somebody.

Whatever it was doing: nothing that stands is lost, nothing is told under another name, and nothing twice but what it
had not yet written down as taken, which the other side knows by its key.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from auditor.demo.servers import ServedFleet
from tests.cli.conftest import to_pagerduty, to_receiver
from tests.cli.fleet import HEALTHY, Fleet
from tests.cli.test_crash import Chain, Listener, Pager
from tests.cli.watching import watching

KILLS = int(os.environ.get("WATCH_KILLS", "6"))
"""`make watch-kills` has fifty of them."""
SEED = 3
LIFE = 2.5
"""Seconds after it is ready within which a watch is killed: it looks at its registry, a file, each second."""
WATCH = {"listen": "", "follow_interval": 1.0, "round_interval": 5.0}


@dataclass
class WatchChain(Chain):
    """One folder, in which watch after watch is killed."""

    least_over: int = max(1, KILLS // 5)

    def disturbed(self) -> None:
        """A watch under which the fleet changes, and which is killed at a moment that chance chooses.

        Every other one is killed while it tells somebody.
        """
        before = self.count()
        with watching(self.fleet.folder, "--config", self.fleet.config) as watch:
            if self.chance.random() < 0.5:
                self.change()
            if self.kills % 2:
                watch.wait_for("ready: ")
                if self.chance.random() < 0.5:
                    self.change()
                time.sleep(self.chance.uniform(0, LIFE))
            else:
                # While it hears of the first answer, or has not heard of it yet.
                self.change()
                self.told_more_than(before)
            watch.process.kill()
        self.kills += 1
        self.mid_delivery += self.count() > before

    def told_more_than(self, before: int) -> None:
        """Returns as soon as somebody was told something, if there is something to tell."""
        pager = self.doubles["oncall"]
        if not self.up_to_date(pager):
            pager.wait_until(lambda: self.count() > before, "somebody to be told", 60.0)

    def up_to_date(self, double: Listener | Pager) -> bool:
        """Whether somebody knows the fleet as it is."""
        return all(
            double.heard.get(found, [("resolved", ())])[-1][0]
            == ("firing" if self.holders(address) else "resolved")
            for address, found in self.marks.items()
        )

    def undisturbed(self) -> None:
        """A watch that tells all that there is to tell, and is told to end."""
        with watching(self.fleet.folder, "--config", self.fleet.config) as watch:
            watch.wait_for("ready: ")
            for double in self.doubles.values():
                double.wait_until(partial(self.up_to_date, double), "all to be told", 60.0)
            code, _ = watch.end()
        self.ended(1 if self.holders_of_any() else 0, "")
        assert code == 0

    def holders_of_any(self) -> bool:
        """Whether an address is contested."""
        return any(self.holders(address) for address in self.marks)

    def run(self) -> None:
        """The whole chain, until it is quiet."""
        while self.kills < KILLS:
            self.disturbed()
        self.undisturbed()
        count = self.count()
        self.undisturbed()
        assert self.count() == count
        self.change(HEALTHY)
        self.undisturbed()


def test_a_watch_that_is_killed_at_any_moment_loses_nothing_and_tells_nothing_twice(
    tmp_path: Path, served: ServedFleet
) -> None:
    with Listener() as receiver, Pager() as pagerduty:
        fleet = Fleet(
            tmp_path / "home",
            served,
            notifiers=[to_receiver(receiver, max_per_message=1), to_pagerduty(pagerduty)],
            watch=WATCH,
        )
        chain = WatchChain(fleet, {"inventory": receiver, "oncall": pagerduty}, random.Random(SEED))  # noqa: S311
        chain.change()
        chain.run()
        chain.check()
    assert chain.mid_delivery >= KILLS // 4
