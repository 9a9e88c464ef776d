"""Plan for a person at a terminal: one screen of who keeps, who moves and what stays; step by step where asked for."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text

from auditor.repair.moves import Because, Contested, LeftOut, Move, RepairPlan, Routed
from auditor.repair.plan.step_text import RULES, Wording, incomplete, rules_of
from auditor.reports.interface import Layout
from auditor.reports.terminal.page import PALETTE, Page, bar, column, pasteable
from auditor.values.addresses import format_prefix
from auditor.values.guide import Guide
from auditor.values.text import count

_WIDEST_NAME = 32
_LABEL = 6
_BAR = 24
_MOST_BLOCKS = 4
"""Contested addresses that get a block each; more get a line each."""
_MOST_ROWS = 60
_MOST_PICKS = 4
_MOST_NAMES = 3
_MOST_LEFT_OUT = 6

_STAYS = {
    Because.LEFT_OUT: "left out above, in whole or part",
    Because.NOT_ASKED: "not asked for; leave --address away to plan for all",
    Because.KEEPER_HOLDS: "whoever holds a pool's first address; see repair.fallback_keeper",
    Because.NO_MOVE: "not a matter of moves",
}


def render_plan(
    plan: RepairPlan,
    layout: Layout,
    *,
    file: str | None = None,
    asked: Sequence[str] = (),
    detail: bool = False,
) -> str:
    """Render the plan as a page of text. `layout.limit`: moves that are written out step by step.

    `file`: where the caller writes the plan as JSON, for the command that comes next; None: nowhere yet.
    `asked`: the options that the plan was made with. `detail`: every step of each move, and the rules.
    """
    page = Page(layout, [*plan.peers.values(), *_routed_keys(plan)])
    wording = Wording(plan)
    _head(page, plan)
    _decisions(page, wording, plan, detail=detail)
    if plan.moves and detail:
        _steps(page, wording, plan, layout.limit)
    if detail:
        _rules(page, plan)
    if plan.contested or plan.left_out:
        _afterwards(page, wording, plan, layout.guide)
    if plan.notes:
        page.heading("NOTES")
        for note in plan.notes:
            page.labelled("-", page.clean(note), label_width=1)
    if plan.moves:
        _next(page, plan, file, asked, layout.guide, detail=detail)
    return page.text()


def _routed_keys(plan: RepairPlan) -> Iterator[str]:
    for contested in plan.contested:
        yield from (routed.public_key for routed in contested.routed if routed.public_key is not None)


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


# -- who keeps, who moves


def _decisions(page: Page, wording: Wording, plan: RepairPlan, *, detail: bool) -> None:
    if plan.contested and (detail or len(plan.contested) <= _MOST_BLOCKS):
        page.heading("WHO KEEPS, WHO MOVES", "now: where observers send the address")
        for contested in plan.contested:
            page.blank()
            _block(page, wording, contested)
    elif plan.contested:
        _table(page, wording, plan.contested)
    if plan.left_out:
        page.heading("LEFT OUT", "nothing is moved there")
        _all_left_out(page, wording, plan.left_out, detail=detail)


def _block(page: Page, wording: Wording, contested: Contested) -> None:
    keeper = contested.keeper
    kept = page.name(wording.name(keeper.node))
    names = [page.name(wording.name(move.node)) for move in contested.moves]
    picks = contested.routed[:_MOST_PICKS]
    whom = [_whom(page, wording, routed) for routed in picks]
    width = column([kept, *names, *whom], _WIDEST_NAME)
    colours = _colours(contested)
    page.line(Text(format_prefix(contested.address), "bold"))
    style = _style(colours, keeper.public_key) if keeper.node else "bold"
    why = Text(f"{keeper.rule.value}: {page.clean(keeper.why)}", "dim")
    page.row([(Text("keeps", "dim"), _LABEL), (Text(kept, style), width), (why, 0)], 2)
    for number, (name, move) in enumerate(zip(names, contested.moves, strict=True)):
        label = Text("moves" if number == 0 else "", "dim")
        to = Text(f"{format_prefix(move.old)} {_arrow(page)} ").append(format_prefix(move.new), "bold")
        to.append(f"{page.dot}{page.clean(wording.origin(move))}", "not bold dim")
        page.row([(label, _LABEL), (Text(name, _style(colours, move.public_key)), width), (to, 0)], 2)
    for left in contested.left_out:
        _left_out(page, wording, left, "stays")
    for number, (routed, name) in enumerate(zip(picks, whom, strict=True)):
        style = _style(colours, routed.public_key)
        length = max(1, min(_BAR, page.width - 2 - _LABEL - width - 2 * 4 - 8))
        drawn = bar(routed.observers, contested.observers, length, ascii_only=page.ascii_only)
        label = Text("now" if number == 0 else "", "dim")
        cells = [(label, _LABEL), (Text(name, style), width), (Text(drawn, style), length)]
        page.row([*cells, (Text(f"{routed.observers:,}", "bold"), 0)], 2)
    if hidden := contested.routed[_MOST_PICKS:]:
        observers = count(sum(routed.observers for routed in hidden), "observer")
        page.labelled("", f"and {count(len(hidden), 'more key')}: {observers}", label_width=_LABEL)
    if contested.routed:
        page.labelled("then", _then(contested), label_width=_LABEL)
    if contested.poorly_reached:
        page.labelled("!", Text(_warning(page, wording, contested), "yellow"), label_width=_LABEL)


def _whom(page: Page, wording: Wording, routed: Routed) -> str:
    """Name the node that observers send an address to; its key, where nobody is registered with it."""
    if routed.node is not None:
        return page.name(wording.name(routed.node))
    return "nobody" if routed.public_key is None else page.key(routed.public_key)


def _colours(contested: Contested) -> dict[str, str]:
    keys = [contested.keeper.public_key, *(move.public_key for move in contested.moves)]
    known = [key for key in keys if key is not None]
    return {key: PALETTE[index % len(PALETTE)] for index, key in enumerate(known)}


def _style(colours: dict[str, str], key: str | None) -> str:
    return "red" if key is None else colours.get(key, "")


def _then(contested: Contested) -> str:
    changing = f"{contested.changing:,} of {count(contested.observers, 'observer')}"
    if contested.keeper.node is None:
        return f"{changing} reach nobody at it any more: they find each node at its new address"
    return f"{changing} {'changes' if contested.changing == 1 else 'change'} server"


def _warning(page: Page, wording: Wording, contested: Contested) -> str:
    reach = contested.reaching_keeper
    keeper = page.name(wording.name(contested.keeper.node))
    who = (
        "nobody reaches it"
        if not reach
        else f"only {reach:,} of {contested.observers:,} {'reaches' if reach == 1 else 'reach'} it"
    )
    text = f"{keeper} keeps the address, and {who} now"
    better = contested.better_reached
    if better is None:
        return text
    name = page.name(wording.name(better.node))
    option = f"--keep {name}" if pasteable(name) else "--keep"
    left = contested.observers - better.observers
    return f"{text}; {option} lets {name} keep it, and {left:,} would change instead"


def _table(page: Page, wording: Wording, every: Sequence[Contested]) -> None:
    """Write a line for each contested address: keeper, moves, and how many observers change server."""
    note = "change: observers that are sent elsewhere than now"
    page.heading("WHO KEEPS, WHO MOVES", note)
    shown = every[:_MOST_ROWS]
    addresses = [format_prefix(item.address) for item in shown]
    keepers = [page.name(wording.name(item.keeper.node)) for item in shown]
    changes = [f"{item.changing:,} of {item.observers:,}" if item.routed else "?" for item in shown]
    widths = (1, column(addresses, 26), column(["keeps", *keepers], 18), column(["change", *changes], 14))
    room = page.width - 2 - 2 * 4 - sum(widths)
    head = (("", 0), ("address", 1), ("keeps", 2), ("change", 3))
    cells = [(Text(f"{text:>{widths[at]}}" if at == 3 else text, "dim"), widths[at]) for text, at in head]
    page.row([*cells, (Text("moves", "dim"), 0)], 2)
    for item, address, keeper, change in zip(shown, addresses, keepers, changes, strict=True):
        page.row(
            [
                (Text("!" if item.poorly_reached else "", "yellow"), widths[0]),
                (Text(address, "bold"), widths[1]),
                (Text(_cut(page, keeper, widths[2])), widths[2]),
                (Text(f"{change:>{widths[3]}}"), widths[3]),
                (Text(_cut(page, _moves_in_short(page, wording, item), room)), 0),
            ],
            2,
        )
    if len(every) > _MOST_ROWS:
        page.line(f"and {len(every) - _MOST_ROWS:,} more: -v or --format json tells of all", 2, "dim")
    if poor := sum(item.poorly_reached for item in every):
        text = f"! {count(poor, 'address is', 'addresses are')} kept by a node that nobody or a minority reaches now"
        page.line(Text(f"{text}: --address ADDRESS says more, --keep NODE chooses another", "yellow"), 2)


def _moves_in_short(page: Page, wording: Wording, contested: Contested) -> str:
    moves = contested.moves
    if len(moves) == 1 and not contested.left_out:
        return f"{page.name(wording.name(moves[0].node))} {_arrow(page)} {format_prefix(moves[0].new)}"
    words = [f"{len(moves):,} move"] if moves else []
    if contested.left_out:
        words.append(f"{len(contested.left_out):,} left out")
    return ", ".join(words)


def _cut(page: Page, text: str, width: int) -> str:
    """Cut a text to so many cells."""
    whole = Text(text)
    if whole.cell_len <= width or width < 4:
        return text
    ending = "..." if page.ascii_only else "…"
    whole.truncate(width - len(ending))
    return whole.plain + ending


def _all_left_out(page: Page, wording: Wording, every: Sequence[LeftOut], *, detail: bool) -> None:
    if detail or len(every) <= _MOST_LEFT_OUT:
        for left in every:
            _left_out(page, wording, left)
        return
    reasons: dict[str, list[str]] = defaultdict(list)
    for left in every:
        reasons[left.why].append(format_prefix(left.address))
    for why, addresses in sorted(reasons.items(), key=lambda entry: -len(entry[1]))[:_MOST_LEFT_OUT]:
        page.line(f"{page.names(addresses, _MOST_NAMES)}: {page.clean(why)}", 2)
    if len(reasons) > _MOST_LEFT_OUT:
        page.line(f"and {len(reasons) - _MOST_LEFT_OUT:,} more reasons: -v tells each", 2, "dim")


def _left_out(page: Page, wording: Wording, left: LeftOut, label: str = "") -> None:
    subject = page.name(wording.name(left.node)) if left.node is not None else format_prefix(left.address)
    text = Text(subject, "bold").append(f": {page.clean(left.why)}", "not bold")
    if label:
        page.labelled(label, text, label_width=_LABEL)
    else:
        page.line(text, 2)


# -- step by step


def _steps(page: Page, wording: Wording, plan: RepairPlan, limit: int) -> None:
    page.heading("STEP BY STEP", "in this order")
    ordered = list(_in_order(plan))
    for number, (contested, move) in enumerate(ordered[:limit], start=1):
        page.blank()
        _move(page, wording, contested, move, f"{number} of {len(ordered)}")
    if len(ordered) > limit:
        page.blank()
        page.line(f"and {len(ordered) - limit:,} more: see them with --address ADDRESS or --format json", 2)


def _in_order(plan: RepairPlan) -> Iterator[tuple[Contested, Move]]:
    contested_of = {move.ident: contested for contested in plan.contested for move in contested.moves}
    return ((contested_of[move.ident], move) for move in plan.moves)


def _move(page: Page, wording: Wording, contested: Contested, move: Move, count: str) -> None:
    title = Text(page.name(wording.name(move.node)), "bold yellow")
    title.append(f"  {format_prefix(move.old)} {_arrow(page)} {format_prefix(move.new)}", "bold default")
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
    return page.clean(text.replace("→", _arrow(page)))


def _arrow(page: Page) -> str:
    return "->" if page.ascii_only else "→"


def _rules(page: Page, plan: RepairPlan) -> None:
    if rules := rules_of(plan):
        page.heading("RULES")
        for rule in rules:
            page.labelled(rule.value, RULES[rule], label_width=max(len(item.value) for item in rules))


# -- what comes then


def _afterwards(page: Page, wording: Wording, plan: RepairPlan, guide: Guide) -> None:
    """Write what stays unclean when all is done, and why."""
    if not plan.remaining and not plan.unseen:
        # A plan of a blind sweep, or of an older version, says nothing of the rest.
        if plan.verdict == "findings" and plan.contested and plan.contested[0].routed:
            page.heading("AFTERWARDS", "nothing stays of what this sweep found")
        return
    page.heading("AFTERWARDS", "what stays unclean when all is done")
    groups: dict[tuple[str, Because], list[str]] = defaultdict(list)
    followers: dict[tuple[str, Because], int] = defaultdict(int)
    for item in plan.remaining:
        groups[item.check, item.because].append(item.subject)
        followers[item.check, item.because] += item.followers
    labels = [check for check, _ in groups] + (["not seen"] if plan.unseen else [])
    width = column(labels, 26)
    for (check, because), subjects in groups.items():
        text = Text(page.names(subjects, _MOST_NAMES), "bold")
        follow = f" ({followers[check, because]:,} more follow)" if followers[check, because] else ""
        text.append(f"{follow}: {_STAYS[because]}", "not bold")
        page.row([(Text(page.name(check), "yellow"), width), (text, 0)], 2)
    if plan.unseen:
        names = page.names(
            [wording.name(node) for node in plan.unseen[:_MOST_NAMES]], _MOST_NAMES, len(plan.unseen)
        )
        text = Text(names, "bold").append(": not known what is there, before and after", "not bold")
        page.row([(Text("not seen", "yellow"), width), (text, 0)], 2)
    subject = next((item.subject for item in plan.remaining if item.because is Because.NO_MOVE), "")
    if pasteable(subject):
        command = guide.command("explain", target=subject)
        page.line(Text("what to do: ", "dim").append(page.clean(_spelled(guide, command)), "not dim bold"), 2)


def _next(
    page: Page, plan: RepairPlan, file: str | None, asked: Sequence[str], guide: Guide, *, detail: bool
) -> None:
    page.heading("NEXT", "plan changes nothing; apply asks before each move")
    name = file if file is not None else "plan.json"
    steps = [guide.command("apply", "--dry-run", target=name), guide.command("apply", target=name)]
    if file is None:
        steps.insert(0, guide.command("plan", *asked, "--output", name))
    for step in steps:
        _command(page, guide, step)
    more = "" if detail else "-v tells each step, and its way back; "
    page.line(f"{more}--format shell writes the steps as a script for hands", 2, "dim")
    if len(plan.contested) == 1 and pasteable(format_prefix(plan.contested[0].address)):
        story = guide.command("explain", target=format_prefix(plan.contested[0].address))
        page.line(page.clean(f"before: {_spelled(guide, story)}"), 2, "dim")


def _command(page: Page, guide: Guide, command: Sequence[str]) -> None:
    """Write a command that can be pasted: one that is wider than the screen goes on behind a backslash."""
    whole = page.clean(_spelled(guide, command))
    room = page.width - 2
    if cell_len(whole) <= room:
        page.line(whole, 2, "bold")
        return
    words = [page.clean(_spelled(Guide(), (word,))) for word in command]
    line = words[0]
    for word in words[1:]:
        if cell_len(f"{line} {word} \\") > room:
            page.line(f"{line} \\", 2, "bold")
            line = f"  {word}"
        else:
            line = f"{line} {word}"
    page.line(line, 2, "bold")


def _spelled(guide: Guide, command: Sequence[str]) -> str:
    return guide.spelled(tuple(command)) or shlex.join(command)
