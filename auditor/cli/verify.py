"""`wgaudit verify`: whether nodes are where the registry says, and nowhere else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import completing, formats, running, settings
from auditor.cli.complaints import complain

if TYPE_CHECKING:
    from auditor.service.verifying import Verification
    from auditor.settings.file import Config

EXIT_NOT_VERIFIED = 1
EXIT_UNKNOWN = 3


@click.command("verify")
@click.argument("nodes", metavar="NODE...", nargs=-1, required=True, shell_complete=completing.nodes)
@click.option("--all", "everybody", is_flag=True, help="Ask every other node, and no sample of them.")
@click.option(
    "--sample", type=click.IntRange(1, 10_000), help="Observers that are asked. Default: repair.sample."
)
@formats.format_option("table", "json")
@settings.config_option
def command(
    nodes: tuple[str, ...],
    everybody: bool,
    sample: int | None,
    format_name: str,
    config_path: Path | None,
) -> int:
    """Is each NODE where the registry says, and nowhere else? One line for each thing that was verified.

    That its device holds its registered addresses and no other one; that observers give them to its key; that none
    gives it another address, such as the one that it had before; and with [[witnesses]], that it is who answers there.
    Nothing is changed.

    Exit code: 0 all of it is verified; 1 something is not; 2 usage or configuration; 3 too little was seen to tell:
    fewer observers than coverage.minimum, or nobody who answers.
    """
    from auditor.repair.verification import VerificationOutcome
    from auditor.reports.json.verify_v1 import verify_document
    from auditor.service.verifying import lines_of

    config, _ = settings.read_config(config_path)
    size = None if everybody else sample or config.repair.sample
    done = running.run(_verify(config, nodes, size))
    if format_name == "json":
        document = verify_document(
            done.at, done.outcome, done.nodes, done.gaps, observers=done.observers, fleet=done.fleet
        )
        running.deliver(document.text(), None)
    else:
        for line in lines_of(done):
            running.tell(line)
    codes = {
        VerificationOutcome.VERIFIED: 0,
        VerificationOutcome.NOT_VERIFIED: EXIT_NOT_VERIFIED,
        VerificationOutcome.UNKNOWN: EXIT_UNKNOWN,
    }
    return codes[done.outcome]


async def _verify(config: Config, nodes: tuple[str, ...], sample: int | None) -> Verification:
    from auditor.service.verifying import verify

    interrupt = asyncio.Event()
    with running.interrupted_by_signals(interrupt):
        return await verify(config, nodes, complain, sample=sample, interrupt=interrupt)
