"""Words of a report that are the same in every form: the verdict, counts, claims, what follows from what.

Functions that put foreign text into words take `clean`, the form's own way to make it harmless.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from auditor.checks.registration_vanished import LOST_RECORD
from auditor.errors import GapReason
from auditor.explain.reach import Obstacle
from auditor.reports.outline import FollowingFindings, GapGroup, Outline, RegistryView, gap_node
from auditor.reports.selection import Selection
from auditor.values.findings import Claim, Finding
from auditor.values.models import Gap, NodeId
from auditor.values.report import Coverage, Report, Verdict
from auditor.values.text import count

Clean = Callable[[str], str]
"""Makes a foreign name or text harmless for where it goes."""
NameOf = Callable[[NodeId], str]

_REGISTRY: Mapping[RegistryView, str] = {
    RegistryView.SUSPECT: "perhaps the registry was not read whole",
    RegistryView.INCOMPLETE: "the registry was not read whole",
}
OBSTACLES: Mapping[Obstacle, str] = {
    Obstacle.OTHER_KEY: "under a key that its device does not have any more",
    Obstacle.LINK_DOWN: "whose link is down",
    Obstacle.SHARED_KEY: "whichever spoke last, for they have one key",
}
"""Words for why what is sent to a node may not arrive, behind its name."""

_LONGEST_CUT_SHORT = 20
_MOST_FOLLOWERS = 3
# What makes a word a part of a longer one. Compiled once: a pattern for each of 3,000 names costs a second.
_BEFORE, _AFTER = re.compile(r"[\w.:-]"), re.compile(r"[\w:-]|\.\w")


# -- the verdict


def verdict_wordings(report: Report, grouped: Outline, clean: Clean) -> list[list[str]]:
    """Put the verdict in words, from the longest wording to the shortest; each is a list of phrases."""
    coverage = report.coverage
    seen = coverage_words(coverage)
    tiny = f"{coverage.observed:,}/{coverage.registered:,} seen"
    gaps = count(len(report.not_seen), "gap") if report.not_seen else "no gaps"
    unheard = unheard_words(grouped)
    cut = f"cut short: {clean(report.cut_short)[:_LONGEST_CUT_SHORT]}" if report.cut_short else ""
    contested, more = len(grouped.contested), len(grouped.rest)
    found = count(more, "finding") if more else "no findings"
    brief = found
    if contested:
        found = count(contested, "contested address", "contested addresses")
        brief = f"{contested:,} contested"
        if more:
            found += f", {more:,} more findings" if more != 1 else ", 1 more finding"
            brief += f", {more:,} more"
    if report.verdict is Verdict.INCONCLUSIVE:
        unseen = coverage.registered - coverage.observed
        found = f"{found}, but {_unseen(report, grouped.registry, unseen)}"
        if unseen > 0 and "seen" in found:
            seen = tiny = ""
        return [
            [found, seen, cut, gaps, unheard],
            [found, seen, cut, gaps],
            [found, tiny, cut],
            [found, cut],
            [found],
        ]
    return [
        [found, seen, gaps, unheard, cut],
        [found, seen, gaps, cut],
        [brief, seen, gaps, cut],
        [brief, tiny, gaps, cut],
        [brief, tiny, cut],
    ]


def _unseen(report: Report, registry: RegistryView, unseen: int) -> str:
    if registry is not RegistryView.WHOLE:
        return _REGISTRY[registry]
    if not report.coverage.registered:
        return "the registry was not read" if report.cut_short else "no node is registered"
    if unseen > 0:
        return f"{unseen:,} of {count(report.coverage.registered, 'node')} not seen"
    return "not enough was seen"


def unheard_words(grouped: Outline) -> str:
    """Return `3 witness gaps`; "" where every witness was heard, or none was asked."""
    number = sum(len(group.gaps) for group in grouped.unheard)
    return count(number, "witness gap") if number else ""


def unheard_note(groups: Sequence[GapGroup]) -> str:
    """Return `3 gaps of witnesses, which hide no node`."""
    number = sum(len(group.gaps) for group in groups)
    return f"{count(number, 'gap')} of witnesses, which {'hides' if number == 1 else 'hide'} no node"


def tally_words(grouped: Outline) -> str:
    """Return `2 critical, 1 error; 15 more follow from these; 1 silenced`; "" where nothing was found."""
    if not grouped.severities:
        return ""
    words = ", ".join(f"{number:,} {severity}" for severity, number in grouped.severities.items())
    if grouped.following:
        words += (
            f"; {grouped.following:,} more {'follows' if grouped.following == 1 else 'follow'} from these"
        )
    if grouped.silenced:
        words += f"; {grouped.silenced:,} silenced"
    return words


def filtered_words(
    selection: Selection, findings: tuple[int, int], gaps: tuple[int, int], clean: Clean
) -> str:
    """Return `--region sin: 2 of 8 findings and 1 of 3 gaps shown`.

    findings, gaps: how many are shown, and how many there are.
    """
    of = f"{findings[0]:,} of {count(findings[1], 'finding')}"
    if gaps[1]:
        of += f" and {gaps[0]:,} of {count(gaps[1], 'gap')}"
    return f"{clean(' '.join(selection.options))}: {of} shown"


def coverage_words(coverage: Coverage, noun: str = "node") -> str:
    """Return `7 of 11 nodes seen, 4 unreadable`."""
    seen = f"{coverage.observed:,} of {count(coverage.registered, noun)} seen"
    return f"{seen}, {coverage.unreadable:,} unreadable" if coverage.unreadable else seen


# -- numbers


def share_words(part: int, whole: int) -> str:
    """Return a share in percent: never 0% for something, never 100% for less than all."""
    rounded = round(100 * part / whole) if whole else 0
    if part and not rounded:
        return "<1%"
    return f"{min(rounded, 99) if part < whole else rounded}%"


def percent(part: int, whole: int) -> str:
    """Return a share in percent, rounded towards "not all": 9,999 of 10,000 is 99.9%."""
    if not whole:
        return "0%"
    thousandths = part * 1000 // whole
    return f"{thousandths // 10}%" if thousandths % 10 == 0 else f"{thousandths / 10:.1f}%"


# -- findings


def place_words(claim: Claim, subject: str, clean: Clean) -> str:
    """Return where a claim is made: `registered wireguard/nodes/edge-fra-1 (index 13)`."""
    words = [claim.witness.value]
    prefix = clean(claim.prefix)
    if prefix.rpartition("/")[0] != subject and prefix != subject:
        words.append(prefix)
    if claim.where:
        words.append(clean(claim.where))
    created, modified = claim.create_index, claim.modify_index
    if created is not None and modified is not None and created != modified:
        words.append(f"(index {created}, changed {modified})")
    elif created is not None or modified is not None:
        words.append(f"(index {created if created is not None else modified})")
    return " ".join(words)


def following_words(group: FollowingFindings, cause: Finding, clean: Clean) -> str:
    """Return `displaced-allowed-ips (edge-fra-1 on 23 observers, 2 more)` for what follows from a finding."""
    things = [_follower(cause, finding, clean) for finding in group.findings[:_MOST_FOLLOWERS]]
    things = [thing for thing in things if thing]
    if len(group.findings) > _MOST_FOLLOWERS:
        things.append(f"{len(group.findings) - _MOST_FOLLOWERS:,} more")
    return f"{clean(group.check)} ({', '.join(things)})" if things else clean(group.check)


def _follower(cause: Finding, finding: Finding, clean: Clean) -> str:
    """Return `edge-fra-1 on 23 observers`: the part of the finding that its cause does not say."""
    beside = finding.address is not None and finding.address == cause.address
    rest = finding.party if beside else finding.subject  # "10.0.0.1 of edge-fra-1", beside 10.0.0.1
    number = finding.evidence.observers
    observers = count(number, "observer") if number > 1 or (number and not rest) else ""
    return " on ".join(filter(None, [clean(rest) if rest else "", observers]))


def unsaid_nodes(finding: Finding, name_of: NameOf) -> list[str]:
    """Name the finding's nodes that neither its subject nor its summary names."""
    said = f"{finding.subject} {finding.summary}"
    return [name for node in finding.nodes if not _says(said, name := name_of(node))]


def unsaid_facts(finding: Finding) -> list[tuple[str, str]]:
    """List the labelled values of a finding that neither its summary nor a command that it leads to gives."""
    return [
        fact
        for fact in finding.evidence.facts
        if fact[0] != LOST_RECORD and not _says(finding.summary, fact[1])
    ]


def _says(text: str, word: str) -> bool:
    """Tell whether the word stands in the text by itself, not as a part of a longer one."""
    start = text.find(word)
    while start >= 0:
        inside = start > 0 and _BEFORE.match(text, start - 1)
        if not inside and not _AFTER.match(text, start + len(word)):
            return True
        start = text.find(word, start + 1)
    return False


# -- gaps


def gap_places(group: GapGroup, name_of: NameOf) -> list[str]:
    """Name what the gaps of a group are about, each once. A witness that no node stands for has no place."""
    places = (
        gap_place(gap, name_of) for gap in group.gaps if not gap.of_witness or gap_node(gap) is not None
    )
    return list(dict.fromkeys(places))


def gap_place(gap: Gap, name_of: NameOf) -> str:
    """Name what a gap is about: a node, a datacenter, the sweep, a witness or the registry. Foreign text."""
    node = gap_node(gap)
    if node is not None:
        return name_of(node)
    if gap.datacenter:
        return f"datacenter {gap.datacenter}"
    if gap.of_witness:
        return "a witness"
    return "the sweep" if gap.reason is GapReason.CUT_SHORT else "the registry"
