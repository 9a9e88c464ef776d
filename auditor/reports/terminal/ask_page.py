"""Page of `ask`: who answers at each address, from where, with the time it took; then what did not answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from auditor.reports.interface import Layout
from auditor.reports.outline import NO_REGION, gap_groups
from auditor.reports.terminal.blocks import answers_block, gaps_block
from auditor.reports.terminal.page import Page, column
from auditor.values.addresses import format_prefix
from auditor.values.answer_words import SOURCE_WORDS, asked, called, failure_words
from auditor.values.asked_addresses import AskedAddress, Asking, AskOutcome
from auditor.values.models import Gap, NodeId
from auditor.values.text import count
from auditor.values.witness_answers import WitnessAnswer

_STYLES: Mapping[AskOutcome, str] = {
    AskOutcome.REGISTERED: "bold green",
    AskOutcome.SOMEBODY_ELSE: "bold red",
    AskOutcome.CONTESTED: "bold red",
    AskOutcome.UNKNOWN: "bold yellow",
}
_WORDS: Mapping[AskOutcome, str] = {
    AskOutcome.REGISTERED: "AS REGISTERED",
    AskOutcome.SOMEBODY_ELSE: "SOMEBODY ELSE",
    AskOutcome.CONTESTED: "CONTESTED",
    AskOutcome.UNKNOWN: "NOT KNOWN",
}
_MOST_HOLDERS = 6
_WIDEST_NAME = 40


def render_ask(asking: Asking, layout: Layout) -> str:
    """Render the page; no line is wider than the layout's columns.

    `layout.limit` bounds the observers that are written out for an address.
    """
    page = Page(layout)
    for number, item in enumerate(asking.addresses):
        if number:
            page.blank()
        _address(page, asking, item, layout)
    if not asking.addresses:
        page.line(Text(_WORDS[AskOutcome.UNKNOWN], _STYLES[AskOutcome.UNKNOWN]).append("  nobody was asked"))
    if asking.gaps:
        page.heading("NOT SEEN", count(len(asking.gaps), "gap") + ": others may be registered, too")
        gaps_block(page, gap_groups(asking.gaps, asking.region), asking.name)
    if asking.cut_short:
        page.blank()
        page.line(f"The asking was cut short ({page.name(asking.cut_short)}): this is what came until then.")
    return page.text()


def _address(page: Page, asking: Asking, item: AskedAddress, layout: Layout) -> None:
    outcome = Text(_WORDS[item.outcome], _STYLES[item.outcome])
    page.line(outcome.append(f"  {format_prefix(item.address)}{page.dot}{item.why}", "not bold default"))
    holders = [_placed(asking, node) for node in item.holders]
    page.line(
        f"registered for {page.names(holders, _MOST_HOLDERS)}" if holders else "registered for nobody", 2
    )
    answers_block(page, asked(asking.reached(item)), asking.name, asking.region)
    met = [answer for answer in item.answers if answer.reason is None]
    if met:
        page.blank()
        page.line("from each observer", 2, "dim")
        _observers(page, asking, item, met, layout.limit)
    _unanswered(page, asking, item)
    if item.outcome in (AskOutcome.SOMEBODY_ELSE, AskOutcome.CONTESTED):
        page.blank()
        page.steps("next", [layout.guide.command("explain", target=format_prefix(item.address))])


def _placed(asking: Asking, node: NodeId) -> str:
    region = asking.region(node)
    return f"{asking.name(node)} ({region})" if region else asking.name(node)


def _observers(
    page: Page, asking: Asking, item: AskedAddress, met: Sequence[WitnessAnswer], limit: int
) -> None:
    """Write a row for each observer, those that met somebody else first."""
    ordered = sorted(
        met, key=lambda answer: (answer.node in item.holders, answer.node or ("", ""), answer.observer)
    )
    several = len({answer.source for answer in met}) > 1
    rows = [_cells(page, asking, item, answer, several=several) for answer in ordered[:limit]]
    widths = [column((cell.plain for cell in cells), _WIDEST_NAME) for cells in zip(*rows, strict=True)]
    for row in rows:
        page.row(list(zip(row, widths, strict=True)), 4)
    if len(ordered) > limit:
        page.line(f"and {len(ordered) - limit:,} more; --format json has each of them", 4, "dim")


def _cells(
    page: Page, asking: Asking, item: AskedAddress, answer: WitnessAnswer, *, several: bool
) -> list[Text]:
    """Return observer, its region, what was asked, whom it met, the region which that says, and the time."""
    server = asking.name(answer.node) if answer.node is not None else called(answer.said)
    known = asking.region(answer.node) if answer.node is not None else ""
    says = f"says {page.name(answer.region)}" if answer.region else ""
    return [
        Text(page.name(asking.name(answer.observer))),
        Text(page.name(asking.region(answer.observer) or "?"), "dim"),
        *([Text(SOURCE_WORDS[answer.source], "dim")] if several else []),
        Text(page.name(server), "" if answer.node in item.holders else "red"),
        Text(says, "dim" if answer.region == known else "yellow"),
        Text(f"{_time(answer.seconds):>6}", "dim"),
    ]


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _unanswered(page: Page, asking: Asking, item: AskedAddress) -> None:
    """Write the questions without an answer by reason, each with what to do."""
    gaps = [
        Gap("witness", answer.reason, answer.detail, answer.observer.name, answer.observer.datacenter or None)
        for answer in item.answers
        if answer.reason is not None
    ]
    if not gaps:
        return
    page.heading("NOT ANSWERED", f"{count(len(gaps), 'question')}: that never means that nobody is there")
    gaps_block(page, gap_groups(gaps, lambda node: asking.region(node) or NO_REGION), asking.name)
    for reason in dict.fromkeys(gap.reason for gap in gaps):
        words = f"{failure_words(reason)}: {asking.advice[reason]}" if reason in asking.advice else ""
        if words:
            page.labelled("do", page.clean(words), 2)
