"""Plan for a person at a terminal: keepers, moves and addresses left out; then each move step by step."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from rich.text import Text

from auditor.repair.moves import Contested, LeftOut, Move, RepairPlan
from auditor.repair.plan.step_text import RULES, Wording, incomplete, rules_of
from auditor.reports.interface import Layout
from auditor.reports.terminal.page import Page, column, pasteable
from auditor.values.addresses import format_prefix
from auditor.values.text import count

_WIDEST_NAME = 32
_LABEL = 8


def render_plan(plan: RepairPlan, layout: Layout, *, file: str | None = None) -> str:
    """Render the plan as a page of text. `layout.limit`: moves that are written out step by step.

    `file`: where the caller writes the plan as JSON, for the command that comes next; None: nowhere yet.
    """
    page = Page(layout, plan.peers.values())
    wording = Wording(plan)
    _head(page, plan)
    _decisions(page, wording, plan)
    if plan.moves:
        _steps(page, wording, plan, layout.limit)
    _explanations(page, plan)
    if plan.moves:
        _next(page, plan, file, layout.config)
    return page.text()


def _decisions(page: Page, wording: Wording, plan: RepairPlan) -> None:
    if plan.contested:
        page.heading("WHO KEEPS, WHO MOVES")
    for contested in plan.contested:
        page.blank()
        _contested(page, wording, contested)
    if plan.left_out:
        page.heading("LEFT OUT", "nothing is moved there")
        for left in plan.left_out:
            _left_out(page, wording, left)


def _steps(page: Page, wording: Wording, plan: RepairPlan, limit: int) -> None:
    page.heading("STEP BY STEP", "in this order")
    ordered = list(_in_order(plan))
    for number, (contested, move) in enumerate(ordered[:limit], start=1):
        page.blank()
        _move(page, wording, contested, move, f"{number} of {len(ordered)}")
    if len(ordered) > limit:
        page.blank()
        page.line(f"and {len(ordered) - limit:,} more: see them with --address ADDRESS or --format json", 2)


def _explanations(page: Page, plan: RepairPlan) -> None:
    rules = rules_of(plan)
    if rules:
        page.heading("RULES")
        for rule in rules:
            page.labelled(rule.value, RULES[rule], label_width=max(len(item.value) for item in rules))
    if plan.notes:
        page.heading("NOTES")
        for note in plan.notes:
            page.labelled("-", page.clean(note), label_width=1)


def _head(page: Page, plan: RepairPlan) -> None:
    title = Text("PLAN", "bold").append(f" {plan.ident}", "not bold")
    if not plan.contested and not plan.left_out:
        page.row([(title.append(f"  nothing to do: {_nothing(plan)}", "not bold"), 0)])
    else:
        addresses = len(plan.contested) + len(plan.left_out)
        words = [
            count(addresses, "contested address", "contested addresses"),
            count(len(plan.moves), "move"),
        ]
        if left := incomplete(plan):
            words.append(f"{left:,} left out in whole or part")
        page.row([(title.append("  " + page.dot.join(words), "not bold"), 0)])
    page.line(
        f"from a sweep that ended {plan.snapshot_at:%Y-%m-%d %H:%M:%S} UTC ({page.clean(plan.verdict)})"
    )


def _nothing(plan: RepairPlan) -> str:
    if plan.verdict == "inconclusive":
        return "no contested address was seen, but not enough was seen"
    return "no contested address"


def _contested(page: Page, wording: Wording, contested: Contested) -> None:
    page.line(Text(format_prefix(contested.address), "bold"))
    keeper = contested.keeper
    name = page.name(wording.name(keeper.node))
    page.labelled("kept by", Text(name, "bold green" if keeper.node else "bold"), label_width=_LABEL)
    page.labelled("", f"{keeper.rule.value}: {page.clean(keeper.why)}", label_width=_LABEL)
    names = [page.name(wording.name(move.node)) for move in contested.moves]
    width = column(names, _WIDEST_NAME)
    for number, (name, move) in enumerate(zip(names, contested.moves, strict=True)):
        label = Text("moves" if number == 0 else "", "dim")
        to = Text("to ", "dim").append(format_prefix(move.new), "not dim bold")
        to.append(f"{page.dot}{page.clean(wording.origin(move))}", "dim")
        page.row([(label, _LABEL), (Text(name, "yellow"), width), (to, 0)], 2)
    for left in contested.left_out:
        _left_out(page, wording, left, "stays")


def _left_out(page: Page, wording: Wording, left: LeftOut, label: str = "") -> None:
    subject = page.name(wording.name(left.node)) if left.node is not None else format_prefix(left.address)
    text = Text(subject, "bold").append(f": {page.clean(left.why)}", "not bold")
    if label:
        page.labelled(label, text, label_width=_LABEL)
    else:
        page.line(text, 2)


def _in_order(plan: RepairPlan) -> Iterator[tuple[Contested, Move]]:
    contested_of = {move.ident: contested for contested in plan.contested for move in contested.moves}
    return ((contested_of[move.ident], move) for move in plan.moves)


def _move(page: Page, wording: Wording, contested: Contested, move: Move, count: str) -> None:
    arrow = "->" if page.ascii_only else "→"
    title = Text(page.name(wording.name(move.node)), "bold yellow")
    title.append(f"  {format_prefix(move.old)} {arrow} {format_prefix(move.new)}", "bold default")
    title.append(f"  {count}{page.dot}{move.kind.value}", "not bold dim")
    page.row([(title, 0)], 2)
    for label, text in wording.moves(contested, move):
        # Each change on a line of its own: at night nobody reads paragraphs.
        for part in _short_keys(page, contested, move, text).split("; "):
            page.labelled(label, part, 4, 6)
            label = ""


def _short_keys(page: Page, contested: Contested, move: Move, text: str) -> str:
    for key in (move.public_key, contested.keeper.public_key):
        if key is not None:
            text = text.replace(key, page.key(key))
    if page.ascii_only:
        text = text.replace("→", "->")
    return page.clean(text)


def _next(page: Page, plan: RepairPlan, file: str | None, config: str | None) -> None:
    page.heading("NEXT")
    option = f" --config {shlex.quote(config)}" if config is not None else ""
    name = shlex.quote(file) if file is not None else "plan.json"
    steps: Sequence[str] = (f"wgaudit apply{option} {name} --dry-run", f"wgaudit apply{option} {name}")
    if file is None:
        page.line("Write the plan to a file first: the same command with --output plan.json", 2)
    for step in steps:
        page.line(Text(page.clean(step), "bold"), 2)
    page.line("Or by hand: the same command with --format shell prints a script to read and run.", 2)
    if len(plan.contested) == 1 and pasteable(format_prefix(plan.contested[0].address)):
        page.line(f"Before: wgaudit explain {format_prefix(plan.contested[0].address)}", 2, "dim")
