"""`wgaudit plan`: the keeper of each contested address, the other nodes' moves, what stays, and each step."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from auditor.cli import complaints, completing, running, screen, settings
from auditor.cli.look import look
from auditor.errors import InvalidValue, UsageError
from auditor.repair.moves import RepairPlan
from auditor.repair.plan.plan_v1 import document
from auditor.repair.plan.planner import plan as make_plan
from auditor.repair.plan.shell_plan import script
from auditor.repair.plan.step_text import incomplete
from auditor.repair.plan_file import write_plan
from auditor.reports.registration_sentences import held_until
from auditor.reports.terminal.plan_page import render_plan
from auditor.service.audit import Audit, Auditor, audit_recording, judged, sweep_options
from auditor.service.claims_of_fleet import add_claims, with_services
from auditor.service.operation_notes import note_plan
from auditor.service.registration_past import past_changes
from auditor.settings.file import Config
from auditor.values.addresses import Prefix, parse_prefix
from auditor.values.guide import Guide
from auditor.values.models import NodeId, Snapshot
from auditor.values.report import Verdict
from auditor.values.text import count

EXIT_WHOLE = 0
EXIT_LEFT_OUT = 1
MOVES_TOLD = 50
"""Moves that `--verbose` tells step by step."""


@click.command("plan")
@settings.config_option
@settings.replay_option
@click.option("--address", shell_complete=completing.addresses, help="Plan for this contested address alone.")
@click.option(
    "--keep",
    "keepers",
    shell_complete=completing.nodes,
    multiple=True,
    metavar="NODE",
    help="This node keeps its address, whatever the rules say; may be given again.",
)
@click.option(
    "--to",
    "chosen",
    multiple=True,
    metavar="NODE=ADDRESS",
    help="This node moves to this address, if that is free; may be given again.",
)
@click.option("-v", "--verbose", is_flag=True, help="Tell each step of each move, and the rules.")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(("table", "json", "shell")),
    default="table",
    show_default=True,
    help="json is what `wgaudit apply` takes; shell is a script to read and run by hand.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write the plan as JSON to this file (0600); with --format shell, the script.",
)
@click.option(
    "--record", type=click.Path(path_type=Path), help="Keep what was seen in this .json.gz file (0600)."
)
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def command(
    config_path: Path | None,
    replay: Path | None,
    address: str | None,
    keepers: tuple[str, ...],
    chosen: tuple[str, ...],
    verbose: bool,
    format_name: str,
    output: Path | None,
    record: Path | None,
    no_progress: bool,
) -> int:
    """Say who keeps each contested address, who moves where, and how. Changes nothing.

    Looks at the fleet as `sweep` does, or at a recording with --replay. Exit codes: 0 a plan for all, or
    nothing to do; 1 the plan leaves out a contested address, in whole or part; 2 usage or configuration;
    3 inconclusive: no contested address was seen, but not enough was seen.
    """
    only = _address(address)
    running.check_folders(reads=replay, record=record, output=output)
    if replay is not None and record is not None:
        raise click.UsageError("--record has no meaning with --replay: nothing is looked at")
    config, _ = settings.read_config(config_path)
    policy = config.repair.policy()
    notes: tuple[str, ...] = ()
    if replay is not None:
        audit = running.run(audit_recording(replay))
    else:
        auditor = Auditor(config)
        audit, notes = running.run(_audited(config, auditor, record, progress=not no_progress))
    made = make_plan(
        audit.snapshot,
        audit.report,
        policy,
        only=only,
        keep=frozenset(_node(audit.snapshot, "--keep", name) for name in keepers),
        to=_chosen(audit.snapshot, chosen),
    )
    if replay is None:
        made = running.run(with_services(made, config))
    held = () if replay is not None else _held_before(config, made)
    made = replace(made, notes=(*notes, *held, *made.notes))
    page = _Screen(
        settings.guide(config, config_path, replay or record), _asked(address, keepers, chosen), verbose
    )
    _deliver(made, format_name, output, page)
    if output is not None and format_name != "shell":
        note_plan(config, made, output, running.person(), complaints.complain)
    return _finish(made, only)


def _held_before(config: Config, made: RepairPlan) -> tuple[str, ...]:
    """Say who was registered with the contested addresses until when, as far as alerted sweeps noticed it."""
    contested = [item.address for item in made.contested]
    addresses = list(dict.fromkeys([*contested, *(item.address for item in made.left_out)]))
    past = past_changes(config, addresses, complaints.complain)
    return tuple(sentence for address in addresses for sentence in held_until(past.get(address, ()), address))


async def _audited(
    config: Config, auditor: Auditor, recording: Path | None, *, progress: bool
) -> tuple[Audit, tuple[str, ...]]:
    snapshot = await look(auditor, sweep_options(config), progress=progress)
    snapshot, notes = await add_claims(snapshot, config)
    return await judged(snapshot, recording=recording), notes


def _address(text: str | None) -> Prefix | None:
    try:
        return parse_prefix(text) if text is not None else None
    except InvalidValue as error:
        raise UsageError(f"--address: {error}") from None


def _node(snapshot: Snapshot, option: str, name: str) -> NodeId:
    nodes = {item.node for item in snapshot.registrations if name in (item.node.name, str(item.node))}
    if not nodes:
        raise UsageError(f"{option}: no registered node is called {name!r}; wgaudit explain finds names")
    if len(nodes) > 1:
        listed = ", ".join(sorted(map(str, nodes)))
        raise UsageError(f"{option}: {name!r} is a node in several datacenters; name one: {listed}")
    return nodes.pop()


def _chosen(snapshot: Snapshot, texts: Collection[str]) -> dict[NodeId, Prefix]:
    found: dict[NodeId, Prefix] = {}
    for text in texts:
        name, equals, address = text.rpartition("=")
        if not equals or not name:
            raise UsageError(f"--to {text}: write it as NODE=ADDRESS")
        node = _node(snapshot, "--to", name)
        if node in found:
            raise UsageError(f"--to {text}: {name} was given another address before")
        try:
            found[node] = parse_prefix(address)
        except InvalidValue as error:
            raise UsageError(f"--to {text}: {error}") from None
    return found


def _asked(address: str | None, keepers: Sequence[str], chosen: Sequence[str]) -> Sequence[str]:
    """Return the options that decided the plan, for the command that writes it to a file."""
    options = [] if address is None else ["--address", address]
    for option, values in (("--keep", keepers), ("--to", chosen)):
        for value in values:
            options += [option, value]
    return options


@dataclass(frozen=True)
class _Screen:
    """How the page is to be: its commands, the options that the plan was made with, and whether to tell each step."""

    guide: Guide
    asked: Sequence[str]
    detail: bool


def _deliver(plan: RepairPlan, format_name: str, output: Path | None, page: _Screen) -> None:
    if format_name == "shell":
        running.deliver(script(plan), output)
        return
    if output is not None:
        write_plan(plan, output)
    if format_name == "json":
        if output is None:
            running.deliver(document(plan), None)
        return

    layout = screen.layout(None, "auto", MOVES_TOLD, guide=page.guide)
    file = str(output) if output is not None else None
    running.deliver(render_plan(plan, layout, file=file, asked=page.asked, detail=page.detail), None)


def _finish(plan: RepairPlan, only: Prefix | None) -> int:
    left = incomplete(plan)
    code = EXIT_LEFT_OUT if left else EXIT_WHOLE
    if not plan.contested and not plan.left_out and plan.verdict == Verdict.INCONCLUSIVE.value:
        code = running.EXIT_INCONCLUSIVE
    if not plan.contested and not plan.left_out:
        of = f" at {only}" if only is not None else ""
        words = f"nothing to do{of}"
    else:
        moves = count(len(plan.moves), "move")
        words = f"{moves}; contested addresses left out in whole or part: {left:,}"
    complaints.complain(f"plan {plan.ident}: {words}; sweep {plan.verdict}; exit code {code}")
    return code
