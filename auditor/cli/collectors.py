"""`wgaudit collectors`: list the collectors that are there, and the regions without one."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli import complaints, formats, running, screen, settings
from auditor.errors import NatsAway

EXIT_MISSING = 1


@click.command("collectors")
@settings.config_option
@formats.format_option("table", "json")
def command(config_path: Path | None, format_name: str) -> int:
    """List the collectors that are there, with version and load, and the regions without one.

    Each configured region is asked on its own subject, for what a collector says of itself proves nothing. No node is
    looked at.

    Exit codes: 0 each of collectors.regions has a collector; 1 one has none; 2 usage or configuration; 3 the NATS
    server could not be asked.
    """
    from auditor.service.collectors_there import collectors_there
    from auditor.service.version import VERSION

    config, _ = settings.read_config(config_path)
    try:
        roll = running.run(collectors_there(config, complaints.complain))
    except NatsAway as away:
        return settings.refuse(away, running.EXIT_INCONCLUSIVE)
    if format_name == "json":
        from auditor.reports.json.collectors_v1 import collectors_document

        running.deliver(collectors_document(roll, VERSION).text(), None)
    else:
        from auditor.reports.terminal.collectors_page import render_collectors

        running.deliver(
            render_collectors(roll, VERSION, screen.layout(None, "auto", len(roll.collectors))), None
        )
    return EXIT_MISSING if roll.missing else running.EXIT_CLEAN
