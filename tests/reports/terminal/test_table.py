"""The table: what stands first, what is folded into what, and that nothing escapes or overflows."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from auditor.errors import GapReason
from auditor.reports.interface import Layout
from auditor.reports.terminal.table import render
from auditor.values.findings import Severity
from auditor.values.guide import Guide
from auditor.values.models import Gap
from auditor.values.report import Coverage, RegionCoverage, Report, Verdict
from tests.reports import sample
from tests.reports.strategies import crowded, reports

PLAIN = Layout(width=80)
REPORTS: dict[str, Callable[[], Report]] = {
    "incident": sample.incident,
    "clean": sample.clean,
    "inconclusive": sample.inconclusive,
    "unread registry": sample.unread_registry,
    "every gap": sample.every_gap,
    "hostile": sample.hostile,
    "huge": lambda: sample.huge(300, 100),
}


def first_line(report: Report, layout: Layout = PLAIN) -> str:
    """The verdict's line."""
    return render(report, layout).splitlines()[0]


def section(text: str, heading: str) -> str:
    """A section's text, from its heading to the next one."""
    start = text.index(f"\n\n{heading}") + 2
    rest = text[start:].splitlines()
    end = next((n for n, line in enumerate(rest) if n and line[:4].isupper() and line[0] != " "), len(rest))
    return "\n".join(rest[:end])


def test_the_first_line_of_the_incident_says_it_all() -> None:
    """Verdict, contested addresses, the other findings, how much was seen, gaps: in 80 columns."""
    assert first_line(sample.incident()) == (
        "FINDINGS  2 contested addresses, 3 more findings · 38 of 40 nodes seen · 2 gaps"
    )


def test_the_first_line_of_a_clean_fleet_says_how_much_was_seen() -> None:
    """Clean without a number would be a claim without evidence."""
    assert first_line(sample.clean()) == "CLEAN  no findings · 40 of 40 nodes seen · no gaps"


def test_inconclusive_says_what_was_not_seen_and_names_it() -> None:
    """Not seeing is not clean, and the reader wants to know where to look."""
    text = render(sample.inconclusive(), PLAIN)
    assert text.startswith("INCONCLUSIVE  no findings, but 1 of 40 nodes not seen · 1 gap\n")
    assert "not seen: worker-nrt-9" in text


def test_an_unread_registry_stands_in_the_verdict() -> None:
    """All *registered* nodes seen means nothing where registrations are missing."""
    assert "but the registry was not read whole" in first_line(sample.unread_registry())


def test_a_suspect_registry_is_not_called_unread() -> None:
    """A guess stays a guess."""
    gap = Gap("consul", GapReason.REGISTRY_SUSPECT, "many live peers are not registered")
    line = first_line(sample.report(Verdict.INCONCLUSIVE, (), (gap,)))
    assert "but perhaps the registry was not read whole" in line


@pytest.mark.parametrize("make", [sample.incident, sample.clean, sample.inconclusive])
def test_a_sweep_that_was_cut_short_says_so_in_the_first_line(make: object) -> None:
    """Whatever the verdict."""
    assert callable(make)
    assert "cut short: interrupted" in first_line(replace(make(), cut_short="interrupted"))


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [40, 80, 140])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_no_line_is_wider_than_the_screen(name: str, width: int, ascii_only: bool) -> None:
    """Folded, never cut: 80 columns are enough, 40 do."""
    text = render(REPORTS[name](), Layout(width=width, ascii_only=ascii_only))
    assert max(map(cell_len, text.splitlines())) <= width


def test_the_verdict_is_one_line_at_80_columns_whatever_the_size_of_the_fleet() -> None:
    """A long one is said more shortly."""
    report = replace(sample.huge(), cut_short="interrupted")
    assert first_line(report).startswith("FINDINGS  2 contested, 2,998 more")
    assert "cut short: interrupted" in first_line(report)


@settings(max_examples=20, deadline=None)
@given(reports(), st.integers(40, 170), st.booleans())
def test_any_report_renders_within_the_width_and_without_control_characters(
    report: Report, width: int, ascii_only: bool
) -> None:
    """Whatever nodes and Consul say: printable lines, not too wide, not crashing."""
    text = render(report, Layout(width=width, ascii_only=ascii_only))
    assert all(line.isprintable() for line in text.split("\n"))
    assert max(map(cell_len, text.splitlines())) <= max(40, min(width, 160))
    assert text.encode("ascii" if ascii_only else "utf-8")


@settings(max_examples=20, deadline=None)
@given(reports())
def test_every_standing_finding_is_shown_somewhere(report: Report) -> None:
    """A finding is written out, folded into its cause, or counted; never lost, circles included."""
    text = render(report, Layout(width=160, limit=0))
    roots = text.count("NOT SHOWN HERE")
    assert bool(roots) == bool(report.standing)


def test_without_colour_there_is_no_escape_sequence() -> None:
    """NO_COLOR, a file, a pipe."""
    assert "\x1b" not in render(sample.hostile(), PLAIN)


def test_colour_is_the_layouts_decision_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A format asks neither the environment nor the stream."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "20")
    coloured = render(sample.incident(), Layout(width=80, colour=True))
    assert "\x1b[1;38;5;161m" in coloured
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in render(sample.incident(), PLAIN)


def test_colour_changes_no_word() -> None:
    """Severity and everything else is readable without it."""
    import re

    coloured = render(sample.incident(), Layout(width=80, colour=True))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in plain.splitlines()] == render(sample.incident(), PLAIN).splitlines()


@pytest.mark.parametrize("colour", [False, True])
def test_a_nodes_name_cannot_send_escapes_or_markup(colour: bool) -> None:
    """The name's own escape sequence shows as text, its markup stays as it is."""
    text = render(sample.hostile(), Layout(width=160, colour=colour))
    assert "\x1b[31mred" not in text
    assert "\\x1b[31mred\\x1b[0m" in text
    assert "[red]x[/red]" in text
    assert "\u202e" not in text
    assert "\\u202egnp.exe" in text


def test_ascii_layout_is_ascii() -> None:
    """Bars of #, no dots, no ellipsis."""
    text = render(sample.incident(), Layout(width=80, ascii_only=True))
    assert text.isascii()
    assert "####" in text


def test_contested_addresses_come_first() -> None:
    """Before anything else, however bad."""
    worse = replace(sample.DRIFT, check="wrong-host", severity=Severity.CRITICAL)
    report = sample.report(Verdict.FINDINGS, (worse, sample.PAIR))
    text = render(report, PLAIN)
    assert text.index("CONTESTED ADDRESSES") < text.index("duplicate-address") < text.index("wrong-host")


def test_the_rest_is_ordered_by_severity() -> None:
    """Whatever order it came in."""
    for order in permutations(
        (sample.DRIFT, sample.UNREGISTERED, replace(sample.REGION, severity=Severity.INFO))
    ):
        text = render(sample.report(Verdict.FINDINGS, order), PLAIN)
        assert text.index("error ") < text.index("warning ") < text.index("info ")


def test_a_contested_address_shows_who_claims_it_where() -> None:
    """Node, region, key, the Consul key with its indexes, and the device."""
    block = section(render(sample.incident(), Layout(width=140)), "CONTESTED ADDRESSES")
    line = next(line for line in block.splitlines() if "registered wireguard/nodes/edge-sin-1" in line)
    short = sample.key("edge-sin-1")[:8]
    assert line.split("  ")[2:5] == ["edge-sin-1", "sin", f"{short}…"]
    assert line.endswith("registered wireguard/nodes/edge-sin-1 (index 4712, changed 4732) · device wg0")


def test_a_contested_address_shows_who_is_routed_where() -> None:
    """Bars as long as the shares, the observers' regions, and those that have it on no peer."""
    block = section(render(sample.incident(), PLAIN), "CONTESTED ADDRESSES")
    lines = [line for line in block.splitlines() if "█" in line][:3]
    assert [line.count("█") for line in lines] == [10, 5, 1]
    assert lines[0].endswith("23  64%  nrt 8, sin 7, ams 6, fra 2")
    assert lines[2].split()[0] == "nobody"
    assert lines[2].endswith("1   3%  iad 1")


def test_what_follows_from_a_contested_address_is_folded_into_it() -> None:
    """One cause, one block."""
    text = " ".join(render(sample.incident(), PLAIN).split())
    assert text.count("displaced-allowed-ips") == 1
    assert (
        "leads to split-routing, displaced-allowed-ips (edge-fra-1 on 23 observers, "
        "edge-sin-1 on 12 observers), self-routed-address (edge-sin-1), "
        "region-mismatch (36 observers)"
    ) in text


def test_a_finding_whose_cause_is_gone_stands_for_itself() -> None:
    """It is not lost together with its cause."""
    gone = replace(sample.PAIR, confirmed=False)
    text = render(sample.report(Verdict.FINDINGS, (gone, sample.FOLLOWERS[1])), PLAIN)
    assert "10.0.0.1 of edge-fra-1 · displaced-allowed-ips" in section(text, "FINDINGS")


def test_findings_that_cause_each_other_are_both_shown() -> None:
    """A circle has no first cause; nothing may vanish in it."""
    one, other = sample.DRIFT, sample.REGION
    pair = (replace(one, caused_by=other.fingerprint), replace(other, caused_by=one.fingerprint))
    text = render(sample.report(Verdict.FINDINGS, pair), PLAIN)
    assert "address-drift" in text
    assert "region-mismatch" in text


def test_a_guess_is_marked_as_a_guess() -> None:
    """Facts first; "Probably …" stands in a line of its own."""
    text = render(sample.incident(), PLAIN)
    assert "\n  guess     Probably written by parallel writers" in text


def test_a_finding_that_was_not_looked_at_twice_says_seen_once() -> None:
    """And one that was confirmed does not."""
    text = render(sample.incident(), PLAIN)
    assert "10.20.0.7 · duplicate-address · ams, iad, nrt · seen once" in text
    assert "10.0.0.1 · duplicate-address · fra, sin\n" in text


def test_what_was_gone_on_the_second_look_stands_apart_and_does_not_count() -> None:
    """It is in no number of the first lines."""
    text = render(sample.report(Verdict.CLEAN, (sample.GONE,)), PLAIN)
    assert text.startswith("CLEAN  no findings")
    assert "worker-iad-5 · missing-peer" in section(text, "GONE ON THE SECOND LOOK")


def test_gaps_are_grouped_by_reason_with_count_names_and_detail() -> None:
    """A hundred refused connections are one paragraph."""
    text = " ".join(section(render(sample.huge(300, 2), PLAIN), "NOT SEEN").split())
    assert "connect-refused 120 fra 40, nrt 40, sin 40: worker-sin-0, worker-fra-1" in text
    assert "and 114 more" in text
    assert "connection refused" in text


def refused(*details: str) -> str:
    """The section of gaps of one reason with these details, one node each, on one line."""
    gaps = [
        Gap("ssh", GapReason.HOST_KEY, detail, f"node-{number}", "dc1")
        for number, detail in enumerate(details)
    ]
    return " ".join(section(render(sample.report(Verdict.INCONCLUSIVE, (), gaps), PLAIN), "NOT SEEN").split())


def test_gaps_that_differ_in_their_details_show_each_of_a_few() -> None:
    """One of two different host keys shown as an example would hide the other."""
    text = refused("unknown key A", "unknown key B", "unknown key A")
    assert "3 node-0, node-1, node-2; unknown key A · unknown key B" in text


def test_gaps_with_one_detail_show_it_once() -> None:
    """And say that it is the same for all."""
    assert "2 node-0, node-1; each: no such file" in refused("no such file", "no such file")


def test_gaps_with_many_details_say_how_many_there_are_and_where_they_stand() -> None:
    """One is shown; that it is not the only one is said."""
    text = refused(*(f"198.18.0.{number}: refused" for number in range(4)))
    assert "; for instance: 198.18.0.0: refused; 4 different details" in text
    assert text.endswith("wgaudit sweep --record sweep.json.gz --format json")


def test_a_sweep_that_was_cut_short_before_the_registry_was_read_says_so() -> None:
    """Not that no node is registered: nobody knows."""
    gap = Gap("sweep", GapReason.CUT_SHORT, "the sweep was cut short before the registry was read")
    nothing = sample.report(Verdict.INCONCLUSIVE, (), (gap,), registered=0, observed=0, cut_short="deadline")
    text = render(nothing, PLAIN)
    assert text.startswith("INCONCLUSIVE  no findings, but the registry was not read")
    assert "cut-short  the sweep  the sweep was cut short before the registry was read" in text


def test_unreadable_registrations_stand_beside_how_many_nodes_were_seen() -> None:
    """They are no gaps, and yet the reason why it is not all nodes."""
    report = sample.report(Verdict.FINDINGS, (sample.DRIFT,))
    text = render(replace(report, coverage=Coverage(11, 7, 4, unreadable=4)), PLAIN)
    assert text.startswith("FINDINGS  1 finding · 7 of 11 nodes seen, 4 unreadable · no gaps")
    assert "7 of 11 registered nodes seen, 4 unreadable (63.6%)" in section(text, "COVERAGE")


def test_every_reason_of_a_gap_is_named() -> None:
    """None is dropped, none is cut."""
    text = render(sample.every_gap(), PLAIN)
    assert all(reason in text for reason in GapReason)


def test_names_of_40_characters_are_shown_whole_at_80_columns() -> None:
    """Folding may move them, nothing may cut them."""
    name = "worker-" + "x" * 33
    finding = replace(
        sample.PAIR,
        evidence=replace(
            sample.PAIR.evidence,
            claims=sample.claims("10.0.0.1/32", name, "edge-sin-1"),
            routing=(sample.pick(name, {"fra": 3}), sample.pick("edge-sin-1", {"sin": 4})),
        ),
    )
    text = render(sample.report(Verdict.FINDINGS, (finding,)), PLAIN)
    assert sum(name in line for line in text.splitlines()) >= 3


def test_of_3000_findings_the_worst_are_written_out_and_the_rest_is_counted() -> None:
    """By check and region, with the command that shows them."""
    text = render(sample.huge(), PLAIN)
    assert text.count(" · address-drift · ") == 48
    hidden = section(text, "NOT SHOWN HERE")
    assert hidden.rstrip().splitlines() == [
        "NOT SHOWN HERE  2,950 findings",
        "                            all  sin  fra  nrt",
        "  error    address-drift    952  318  317  317",
        "  warning  missing-peer   1,998  666  666  666",
        "  all of them, by sweeping again:",
        "  wgaudit sweep --record sweep.json.gz --limit 3000",
    ]


def test_the_command_for_the_rest_shows_this_sweep_where_it_was_recorded() -> None:
    """Hours of sweeping need not be done again; and the command is one that a shell takes."""
    report = sample.huge(500, 100)
    text = render(report, replace(PLAIN, guide=Guide(recording="it's tonight.json.gz"), limit=10))
    assert "all of them: wgaudit sweep --replay 'it'\"'\"'s tonight.json.gz' --limit 100\n" in text
    assert "by sweeping again" not in text
    assert "NOT SHOWN HERE" not in render(report, replace(PLAIN, limit=100))


def test_the_command_for_the_rest_names_the_configuration_that_the_caller_named() -> None:
    """Else it would audit another fleet."""
    text = render(sample.huge(500, 100), replace(PLAIN, guide=Guide(config="/etc/w.toml")))
    assert "wgaudit sweep --config /etc/w.toml --record sweep.json.gz --limit 100" in text


def spread(regions: int) -> Report:
    """A hundred findings in each of so many regions, one less in each than in the one before."""
    made = [
        replace(sample.DRIFT, subject=f"node-{region}-{number}", regions=(f"region-{region:02}",))
        for region in range(regions)
        for number in range(100 - region)
    ]
    return sample.report(Verdict.FINDINGS, made)


@pytest.mark.parametrize("regions", [1, 3, 8, 9, 60])
@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_the_regions_of_the_rest_add_up_however_many_there_are(regions: int, width: int) -> None:
    """What has no column of its own is in the last one."""
    hidden = section(render(spread(regions), Layout(width=width, limit=0)), "NOT SHOWN HERE")
    total = sum(100 - region for region in range(regions))
    told = " ".join(re.split(rf"address-drift\s+{total:,}", hidden)[1].split("all of them")[0].split())
    told = re.sub(r"region-\d+|\d+ other regions?", "", told)
    counts: list[str] = re.findall(r"[\d,]*\d", told)
    assert sum(int(count.replace(",", "")) for count in counts) == total
    assert len(hidden.splitlines()) <= 12


def test_a_rest_in_several_regions_says_that_it_is_counted_in_each() -> None:
    """Else the row would not add up without a word."""
    text = render(sample.report(Verdict.FINDINGS, (sample.PAIR, sample.REGION)), replace(PLAIN, limit=0))
    hidden = section(text, "NOT SHOWN HERE")
    assert "critical  duplicate-address    1    1    1" in hidden
    assert "A finding in several regions is counted in each of them." in hidden
    assert hidden.index("duplicate-address") < hidden.index("region-mismatch")


def holes(count: int, *, regions: bool) -> Report:
    """So many nodes that swallow every packet, in two datacenters and three regions."""
    names = [sample.node(f"node-{number}", f"dc{1 + number % 2}") for number in range(count)]
    gaps = [
        Gap("ssh", GapReason.CONNECT_TIMEOUT, f"{name}: no answer in 10 s", name.name, name.datacenter)
        for name in names
    ]
    made = sample.report(Verdict.INCONCLUSIVE, (), gaps, registered=10_000, observed=10_000 - count)
    known = {name: ("fra", "sin", "ams")[number % 3] for number, name in enumerate(names)}
    return replace(made, node_regions=known if regions else {})


def test_500_black_holes_are_a_few_lines() -> None:
    """By region where the regions are known, else by datacenter."""
    text = " ".join(section(render(holes(500, regions=True), PLAIN), "NOT SEEN").split())
    assert "connect-timeout 500 fra 167, sin 167, ams 166: node-0, node-1" in text
    text = section(render(holes(500, regions=False), PLAIN), "NOT SEEN")
    assert "500  dc1 250, dc2 250: node-0" in text
    assert "--format json" in text
    assert len(render(holes(10_000, regions=True), PLAIN).splitlines()) <= 20


def test_a_finding_about_3000_nodes_and_observers_is_a_few_lines() -> None:
    """The first claimants and the most picked keys; the others are counted. Nobody is always told."""
    names = [f"worker-{number}" for number in range(3_000)]
    everybody = replace(
        sample.PAIR,
        nodes=tuple(map(sample.node, names)),
        regions=tuple(f"region-{number}" for number in range(300)),
        evidence=replace(
            sample.PAIR.evidence,
            claims=sample.claims("10.0.0.1/32", *names),
            routing=(*(sample.pick(name, {"fra": 3}) for name in names), sample.pick(None, {"fra": 1})),
        ),
    )
    text = render(sample.report(Verdict.FINDINGS, (everybody,)), PLAIN)
    assert "    and 2,992 more\n" in text
    assert "and 2,992 more keys: 8,976 observers" in text
    assert "nobody" in text
    assert len(text.splitlines()) <= 60
    drift = replace(sample.DRIFT, nodes=everybody.nodes, evidence=replace(sample.UNREGISTERED.evidence))
    assert len(render(sample.report(Verdict.FINDINGS, (drift,)), PLAIN).splitlines()) <= 20


@settings(max_examples=20, deadline=None)
@given(reports(), st.integers(20, 60))
def test_no_report_grows_with_what_its_findings_are_about(report: Report, times: int) -> None:
    """Whatever they are called: beyond the first few of everything there is only a count."""
    few, many = (
        replace(
            report,
            findings=tuple(crowded(finding, number) for finding in report.findings),
            gaps=tuple(
                replace(gap, node=f"{gap.node}{index}") for index in range(number) for gap in report.gaps
            ),
        )
        for number in (20, times)
    )
    few_lines, many_lines = (len(render(item, PLAIN).splitlines()) for item in (few, many))
    assert many_lines <= few_lines + 3 * (len(report.findings) + len(report.gaps))


def test_a_fleet_of_10000_nodes_with_3000_findings_renders_within_two_cpu_seconds() -> None:
    """The report must not be what a sweep waits for."""
    report = replace(sample.huge(), gaps=holes(10_000, regions=True).gaps)
    for limit, most in ((50, 400), (3_000, 20_000)):
        began = time.process_time()
        text = render(report, replace(PLAIN, limit=limit))
        assert time.process_time() - began < 2.0
        assert len(text.splitlines()) <= most


def test_no_command_is_offered_with_a_subject_that_a_shell_would_read() -> None:
    """A hostile subject must not be pasted."""
    finding = replace(sample.PAIR, subject="$(reboot)")
    assert "wgaudit explain $(reboot)" not in render(sample.report(Verdict.FINDINGS, (finding,)), PLAIN)
    assert "wgaudit explain 10.0.0.1" in render(sample.incident(), PLAIN)


def test_the_coverage_says_which_regions_one_witness_alone_names() -> None:
    """There nothing can mismatch, so a report without such a finding has checked nothing."""
    alone = RegionCoverage("sin", 3, 0, {"registration": 3}, {"registration": 3})
    report = replace(sample.clean(), coverage=Coverage(3, 3, 1, regions=(alone,)))
    text = render(report, PLAIN)
    assert "  region: one witness (registration), not checked, for 3 of 3 nodes\n" in text
