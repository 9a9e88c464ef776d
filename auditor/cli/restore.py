"""`wgaudit restore`: put a node's lost registration back."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli import complaints, completing, running, settings
from auditor.errors import NotRestored
from auditor.values.text import for_log

EXIT_REFUSED = 1


@click.command("restore")
@click.argument("node", shell_complete=completing.nodes)
@settings.config_option
@click.option("--dry-run", is_flag=True, help="Write nothing: look, and say what would be written.")
@click.option("--no-progress", is_flag=True, help="No progress on stderr.")
def command(node: str, config_path: Path | None, dry_run: bool, no_progress: bool) -> int:
    """Put the registration of NODE back, as the last `sweep --alert` read it.

    Looks at the fleet first, and refuses where the node is registered, or where its key or an address of it is
    somebody else's by now: in the registry, by an address claim, on a device or in a route. It is written where no
    such key is, in one transaction with its claims. Fields that wgaudit does not read are not remembered, and not
    written. Exit code: 0 written (--dry-run: it could be); 1 refused, or not known to be written; 2 usage or
    configuration.
    """
    from auditor.cli.look import look
    from auditor.service.audit import Auditor, sweep_options
    from auditor.service.restoration import check_restorable, prepare, put_back, unseen_words

    config, _ = settings.read_config(config_path)
    check_restorable(config)
    snapshot = running.run(look(Auditor(config), sweep_options(config), progress=not no_progress))
    try:
        restoration = prepare(config, snapshot, node)
        if words := unseen_words(restoration):
            complaints.say(f"wgaudit: restore: {words}")
        if not dry_run:
            put_back(config, restoration)
    except NotRestored as error:
        return settings.refuse(f"restore: {error}", EXIT_REFUSED)
    lost = restoration.lost
    verb = "would be written" if dry_run else "written"
    running.deliver(for_log(f"{lost.registration.where}  {verb}: {lost.record}") + "\n", None)
    return 0
