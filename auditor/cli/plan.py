"""`wgaudit plan`: the keeper of each contested address, the other nodes' moves, and their steps."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import click

from auditor.cli import running, screen, settings
from auditor.cli.look import look
from auditor.errors import InvalidValue, UsageError
from auditor.repair.moves import RepairPlan
from auditor.repair.plan.plan_v1 import document
from auditor.repair.plan.planner import plan as make_plan
from auditor.repair.plan.shell_plan import script
from auditor.repair.plan.step_text import incomplete
from auditor.repair.plan_file import write_plan
from auditor.reports.terminal.plan_page import render_plan
from auditor.service.audit import Audit, Auditor, audit_recording, judged, sweep_options
from auditor.service.claims_of_fleet import add_claims
from auditor.settings.file import Config
from auditor.values.addresses import Prefix, parse_prefix
from auditor.values.models import NodeId, Snapshot, Verdict
from auditor.values.text import count

EXIT_WHOLE = 0
EXIT_LEFT_OUT = 1
MOVES_TOLD = 50
"""Moves that the table tells step by step."""


@click.command("plan")
@settings.config_option
@settings.replay_option
@click.option("--address", help="Plan for this contested address alone.")
@click.option(
    "--keep",
    "keepers",
    multiple=True,
    metavar="NODE",
    help="This node keeps its address, whatever the rules say; may be given again.",
)
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
    running.check_folders(record=record, output=output)
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
    made = make_plan(audit.snapshot, audit.report, policy, only=only, keep=_kept(audit.snapshot, keepers))
    made = replace(made, notes=(*notes, *made.notes))
    _deliver(made, format_name, output, config_path)
    return _finish(made, only)


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


def _kept(snapshot: Snapshot, names: Collection[str]) -> frozenset[NodeId]:
    found = set()
    for name in names:
        nodes = {item.node for item in snapshot.registrations if name in (item.node.name, str(item.node))}
        if not nodes:
            raise UsageError(f"--keep: no registered node is called {name!r}; wgaudit explain finds names")
        if len(nodes) > 1:
            listed = ", ".join(sorted(map(str, nodes)))
            raise UsageError(f"--keep: {name!r} is a node in several datacenters; name one: {listed}")
        found |= nodes
    return frozenset(found)


def _deliver(plan: RepairPlan, format_name: str, output: Path | None, config_path: Path | None) -> None:
    if format_name == "shell":
        running.deliver(script(plan), output)
        return
    if output is not None:
        write_plan(plan, output)
    if format_name == "json":
        if output is None:
            running.deliver(document(plan), None)
        return

    layout = screen.layout(None, "auto", MOVES_TOLD, config=config_path)
    running.deliver(render_plan(plan, layout, file=str(output) if output is not None else None), None)


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
    running.say(f"wgaudit: plan {plan.ident}: {words}; sweep {plan.verdict}; exit code {code}")
    return code
