"""What changed last: what follows soon after is one change, and a new page begins without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from auditor.values.findings import Finding
from auditor.values.report import Verdict
from auditor.watch.view import WatchView
from auditor.watch.web.page_changes import LastChange
from tests.reports import sample
from tests.watch.web.scripted import BEGAN, view


def at(seconds: float, findings: Sequence[Finding], *changed: Finding) -> WatchView:
    """A view so many seconds after the watch began."""
    made = view(1, sample.report(Verdict.FINDINGS, findings))
    marks = frozenset(finding.fingerprint for finding in changed)
    return replace(made, taken_at=BEGAN + timedelta(seconds=seconds), changed=marks)


def test_what_stands_when_the_page_begins_is_no_change() -> None:
    change = LastChange().after(at(0, (sample.PAIR,)))
    assert (change.words(), change.marks()) == ("", {})
    assert change.after(at(60, (sample.PAIR,))).at is None


def test_registry_device_and_routes_are_one_change() -> None:
    change = (
        LastChange().after(at(0, ())).after(at(10, (sample.PAIR,))).after(at(13, (sample.PAIR, sample.DRIFT)))
    )
    change = change.after(at(14, (sample.PAIR, sample.DRIFT), sample.PAIR))
    assert change.words() == "2 new findings (10.0.0.1, worker-nrt-3)"
    assert change.marks() == dict.fromkeys(
        (sample.PAIR.fingerprint, sample.DRIFT.fingerprint), "new at 02:00:14 UTC"
    )


def test_the_next_change_takes_the_mark_of_the_one_before() -> None:
    change = LastChange().after(at(0, ())).after(at(10, (sample.PAIR,)))
    change = change.after(at(40, (sample.PAIR, sample.DRIFT)))
    assert change.marks() == {sample.DRIFT.fingerprint: "new at 02:00:40 UTC"}
    change = change.after(at(70, (sample.DRIFT,), sample.DRIFT))
    assert change.words() == "1 finding changed (worker-nrt-3), 1 finding gone (10.0.0.1)"
    assert change.marks() == {sample.DRIFT.fingerprint: "changed at 02:01:10 UTC"}


def test_what_follows_from_a_finding_is_no_change_of_its_own() -> None:
    change = LastChange().after(at(0, (sample.PAIR,)))
    follower = sample.FOLLOWERS[0]
    assert change.after(at(10, (sample.PAIR, follower), follower)).at is None


def test_what_came_back_within_the_change_is_not_gone() -> None:
    change = LastChange().after(at(0, (sample.PAIR,))).after(at(10, ())).after(at(12, (sample.PAIR,)))
    assert change.words() == "1 new finding (10.0.0.1)"
