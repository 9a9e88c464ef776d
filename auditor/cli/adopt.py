"""`wgaudit adopt`: claims for a registry that has none, and disagreements with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from auditor.cli import screen, settings
from auditor.errors import AdoptionDisturbed, NotAdoptable, StoreError, UsageError
from auditor.repair.claims.adoption import Adoption, adopt, check
from auditor.repair.claims.registration import allocator_policy
from auditor.reports.terminal.table import render
from auditor.service.provisioning import build_claims_store
from auditor.settings.file import Config
from auditor.state.recording import replay as read
from auditor.values.addresses import format_prefix
from auditor.values.guide import Guide
from auditor.values.report import Report
from auditor.values.text import for_log, listed

EXIT_REFUSED = 1
_MOST_SHOWN = 20


@click.command("adopt")
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    help="A recorded snapshot: what it saw live without a registration is kept off.",
)
@click.option("--check", is_flag=True, help="Write nothing: say where claims and registrations disagree.")
@settings.config_option
def command(replay: Path | None, check: bool, config_path: Path | None) -> int:
    """Claim every registered address for its node, so that `wgaudit allocate` cannot give it twice.

    Repeating it goes on where it was interrupted. A registry that holds duplicates is refused, with the
    findings. Exit code: 0 adopted (--check: nothing disagrees); 1 not; 2 usage or configuration.
    """
    if check and replay is not None:
        raise UsageError("adopt: --check compares what Consul holds; --replay has no meaning with it")
    config, _ = settings.read_config(config_path)
    try:
        return _check(config) if check else _adopt(config, replay)
    except NotAdoptable as error:
        if isinstance(error.report, Report):
            _show(error.report, settings.guide(config, config_path))
        return settings.refuse(error, EXIT_REFUSED)
    except (AdoptionDisturbed, StoreError) as error:
        return settings.refuse(f"adopt: {error}", EXIT_REFUSED)


def _adopt(config: Config, replay: Path | None) -> int:
    policy = allocator_policy(config)
    live = None
    if replay is not None:
        live = read(replay)
    adoption = adopt(build_claims_store(config), policy, config.policy(), live=live)
    for line in _lines(adoption):
        click.echo(line)
    return 0


def _lines(adoption: Adoption) -> Sequence[str]:
    lines = [
        f"{adoption.registered:,} registered addresses have a claim; {adoption.written:,} claims written"
    ]
    for what, prefixes in (
        ("seen live without a registration, kept off", adoption.seen),
        ("kept off as a whole", adoption.networks),
        ("NOT kept off, for it holds a whole pool", adoption.too_wide),
        ("claimed by a node that no longer has it, in quarantine now", adoption.orphans),
    ):
        if prefixes:
            lines.append(
                f"{len(prefixes):,} {what}: {listed(map(format_prefix, prefixes), most=_MOST_SHOWN, last=', ')}"
            )
    return lines


def _check(config: Config) -> int:
    differences = check(build_claims_store(config), allocator_policy(config))
    faults = [item for item in differences if not item.under_way]
    for item in differences:
        mark = "under way" if item.under_way else "differs"
        click.echo(for_log(f"{mark}: {item.what}"))
    if not differences:
        click.echo("claims and registrations agree")
    return EXIT_REFUSED if faults else 0


def _show(report: Report, guide: Guide) -> None:
    click.echo(render(report, screen.layout(None, "auto", 50, guide=guide)), nl=False)
