"""`wgaudit probe-script`: print the script for nodes that force one command on the audit's key."""

from __future__ import annotations

from pathlib import Path

import click

from auditor.cli import running, settings
from auditor.nodes.key_options import key_line
from auditor.nodes.probe.probe import probe_script
from auditor.service import parts


@click.command("probe-script")
@settings.config_option
def command(config_path: Path | None) -> int:
    """Print the script that an authorized_keys entry can force, so that the audit's key can do nothing else.

    Device, sudo, region command, wg_command and address_devices are taken from the configuration and fixed
    in the script. Put it on
    each node as /usr/local/libexec/wgaudit-probe (mode 0755), force it with
    command="/usr/local/libexec/wgaudit-probe",restrict in authorized_keys, and set ssh.probe = "installed".
    Where [[witnesses]] are configured, the script says in its first lines, and stderr too, what has to stand in
    authorized_keys for them. docs/security.md goes through it step by step.
    """
    config, _ = settings.read_config(config_path)
    script = probe_script(
        config.mesh.device, config.ssh.sudo, config.regions.command, parts.probe_places(config)
    )
    if config.witnesses:
        line = key_line(config.witnesses)
        begin, rest = script.split("\n", 1)
        script = f"{begin}\n# In authorized_keys, before the key: {line}\n{rest}"
        click.echo(f"wgaudit: in authorized_keys, before the key: {line}", err=True)
    running.deliver(script, None)
    return 0
