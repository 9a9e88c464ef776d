"""`wgaudit check`: whether a registration may be written, judged before the write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import formats, running, settings
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.service.admitting import RecordInput

EXIT_UNKNOWN = 3


@click.command("check")
@click.argument("records", metavar="RECORD...", nargs=-1, required=True)
@click.option(
    "--node", default="", help="The node's name, for a record's JSON by itself, which does not say it."
)
@click.option("--key", default="", help="The same by the record's whole key in Consul.")
@click.option("--datacenter", default="", help="Where it would be written, if several are configured.")
@click.option(
    "--replay",
    type=click.Path(path_type=Path),
    help="A recorded snapshot: what it saw live counts, too.",
)
@click.option("--live", is_flag=True, help="Ask the watch that runs here (watch.listen) for what is live.")
@click.option("--no-claims", is_flag=True, help="Leave the address claims out: for a registry that has none.")
@click.option(
    "--allow",
    multiple=True,
    metavar="IDENT",
    help="An objection that is to be a warning, such as first-address; may be given again.",
)
@formats.format_option("table", "json")
@settings.config_option
def command(
    records: tuple[str, ...],
    node: str,
    key: str,
    datacenter: str,
    replay: Path | None,
    live: bool,
    no_claims: bool,
    allow: tuple[str, ...],
    format_name: str,
    config_path: Path | None,
) -> int:
    """May these registrations be written? One line each: yes, no and why, or can't tell.

    RECORD is a file, or - for stdin: the record's JSON as it would be written, with --node; or entries with key and
    value, as `consul kv export` writes them. They are judged against the registry, the address claims, each other,
    and with --replay or --live what is live. Nothing is written.

    Exit code: 0 yes, all of them; 1 no; 2 usage or configuration; 3 nothing speaks against them, but not all could be
    read that might.
    """
    from auditor.admission.objections import AdmissionVerdict
    from auditor.reports.json.check_v1 import check_document
    from auditor.service.admitting import CheckRequest, check_records
    from auditor.service.provisioning import allowed

    if (node or key) and len(records) > 1:
        raise UsageError(
            "check: --node and --key name one record; give one RECORD, or entries with their keys"
        )
    if node and key:
        raise UsageError("check: --node and --key both name the record; give one")
    if live and replay is not None:
        raise UsageError("check: --live and --replay both say what is live; give one")
    asked = CheckRequest(
        node=node,
        key=key,
        datacenter=datacenter,
        recording=replay,
        watch=live,
        claims=not no_claims,
        allow=allowed(allow),
    )
    config, _ = settings.read_config(config_path)
    inputs = [_input(name) for name in records]
    checked = running.run(check_records(config, inputs, asked))
    if format_name == "json":
        document = check_document(
            checked.admissions,
            checked.verdict,
            registered=checked.registered,
            claims=checked.claims_read,
            live=checked.live_from,
            passed_over=checked.passed_over,
        )
        running.deliver(document.text(), None)
    else:
        running.deliver("".join(f"{line}\n" for line in checked.lines), None)
    codes = {
        AdmissionVerdict.ADMITTED: 0,
        AdmissionVerdict.REFUSED: 1,
        AdmissionVerdict.UNKNOWN: EXIT_UNKNOWN,
    }
    return codes[checked.verdict]


def _input(name: str) -> RecordInput:
    from auditor.registry.file import MAX_FILE
    from auditor.service.admitting import RecordInput, read_input

    if name != "-":
        return read_input(Path(name))
    if sys.stdin is None:
        raise UsageError("check: stdin is closed")
    return RecordInput("stdin", sys.stdin.buffer.read(MAX_FILE + 1))
