"""`wgaudit nodes`: a row for each server, registered and live."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import complaints, filters, formats, running, screen, settings
from auditor.errors import UsageError
from auditor.reports.selection import Selection
from auditor.values.text import count

if TYPE_CHECKING:
    from auditor.reports.interface import Layout
    from auditor.reports.node_rows import NodeList
    from auditor.settings.file import Config
    from auditor.values.report import Report

SSH_PORT = 22
_PORTS_TOLD = 3
"""Other ports that are told one by one."""


@click.command("nodes")
@settings.config_option
@formats.format_option("table", "wide", "csv", "json", "hosts", short="-o")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    help="With hosts: those whose SSH server listens at this port. Default: the port that most have.",
)
@filters.filter_options
@settings.replay_option
@formats.screen_options
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def command(
    config_path: Path | None,
    format_name: str,
    port: int | None,
    selection: Selection,
    replay: Path | None,
    width: int | None,
    colour: screen.Colour,
    no_progress: bool,
) -> int:
    """List every server: its region, address and key, whether it was seen, and which route table it has.

    Looks at the fleet as `sweep` does; for hosts it reads the registry alone, so that host keys can be collected
    before any node can be logged in to. --check and --severity choose the nodes that such findings name.

    Exit codes: 0 listed, whatever was found; 2 usage or configuration; 3 the registry was not read whole: servers may
    be missing.
    """
    if port is not None and format_name != "hosts":
        raise UsageError("--port: only --format hosts takes one")
    from auditor.cli.look import audited
    from auditor.reports.node_rows import node_list
    from auditor.service.underlay_hosts import audit_registry, underlay_hosts

    config = _config(config_path, replay)
    if format_name == "hosts" and replay is None:
        audit, guide = running.run(audit_registry(config)), settings.guide(config, config_path)
    else:
        audit, guide = audited(config_path, replay, progress=not no_progress)
    hosts = underlay_hosts(audit.snapshot.registrations, config.ssh)
    listed = node_list(audit.snapshot, audit.report, selection, hosts)
    filters.tell_strangers(selection, listed.nodes, listed.regions)
    if format_name == "hosts":
        _deliver_hosts(listed, port)
    else:
        layout = screen.layout(width, colour, limit=50, guide=guide)
        running.deliver(_rendered(format_name, listed, audit.report, selection, layout), None)
    missing = [gap for gap in audit.report.gaps if gap.hides_registrations]
    if missing:
        complaints.say(f"wgaudit: servers may be missing: {missing[0].detail}")
    return running.EXIT_INCONCLUSIVE if missing else running.EXIT_CLEAN


def _config(config_path: Path | None, replay: Path | None) -> Config:
    """Read the settings that say where nodes are reached: of a recording, the named file's or the defaults."""
    if replay is None:
        return settings.read_config(config_path, warn=False)[0]
    from auditor.settings.file import Config

    return settings.named_config(config_path) or Config()


def _rendered(
    format_name: str, listed: NodeList, report: Report, selection: Selection, layout: Layout
) -> str:
    """Render one form. Each loads only what it needs."""
    if format_name == "json":
        from auditor.reports.json.nodes_v1 import nodes_document

        return nodes_document(listed, report, selection).text()
    if format_name == "csv":
        from auditor.reports.nodes_csv import render_nodes_csv

        return render_nodes_csv(listed)
    from auditor.reports.terminal.nodes_page import render_nodes

    return render_nodes(listed, report, selection, layout, wide=format_name == "wide")


def _deliver_hosts(listed: NodeList, port: int | None) -> None:
    """Write the hosts of one port, a line each, and say on stderr which nodes are not among them.

    ssh-keyscan takes one port for all of its hosts, by an option: it knows no `[host]:port`, and writes that itself.
    """
    from auditor.reports.node_rows import Listing

    rows = [row for row in listed.rows if row.listing is not Listing.RETIRED]
    ports = Counter(row.ssh.port or SSH_PORT for row in rows if row.ssh is not None)
    chosen = port or next((number for number, _ in ports.most_common(1)), SSH_PORT)
    hosts = dict.fromkeys(
        row.ssh.host for row in rows if row.ssh is not None and (row.ssh.port or SSH_PORT) == chosen
    )
    running.deliver("".join(f"{host}\n" for host in hosts), None)
    if chosen != SSH_PORT:
        complaints.say(f"wgaudit: their port is {chosen}: ssh-keyscan -p {chosen} -f -")
    others = sorted((other, number) for other, number in ports.items() if other != chosen)
    if len(others) > _PORTS_TOLD:
        first = ", ".join(str(other) for other, _ in others[:_PORTS_TOLD])
        total = count(sum(number for _, number in others), "node")
        complaints.say(
            f"wgaudit: not listed: {total} at {len(others):,} other ports ({first}, …); --port PORT lists "
            "those of one"
        )
    else:
        for other, number in others:
            complaints.say(
                f"wgaudit: not listed: {count(number, 'node')} at port {other}; --port {other} lists them"
            )
    if unreachable := sum(row.ssh is None for row in rows):
        complaints.say(
            f"wgaudit: not listed: {count(unreachable, 'node')} whose registration leads to no host; "
            "`wgaudit sweep` says why"
        )
