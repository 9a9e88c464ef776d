"""`wgaudit init`: write a commented configuration from options, or from answers to a few questions."""

from __future__ import annotations

import json
import string
import sys
import tomllib
from pathlib import Path

import click

from auditor.cli import running
from auditor.errors import UsageError
from auditor.settings.file import FILE_NAME, parse_config
from auditor.state.files import write_whole

_TEMPLATE = string.Template(
    """\
# wgaudit's configuration. docs/configuration.md explains every key; an unknown one is refused.

[consul]
# https goes with ca_file, cert_file and key_file.
url = $url
# Ends with a slash: Consul's own match would also take wireguard/nodes-old/.
prefix = $prefix
# kv-json: one JSON value a node. kv-fields: one key a field. catalog: node meta.
layout = $layout
# [] is the agent's own datacenter, ["*"] every one.
datacenters = $datacenters
# Else `token`, else $$CONSUL_HTTP_TOKEN.
$token_line
# Seconds.
timeout = 10.0

# The dotted path of each value inside a registration.
[consul.fields]
public_key = "public_key"
address = "ip"
region = "region"
endpoint = "endpoint"
ssh_host = "ssh_host"

[ssh]
# A template such as "{ssh_host}" or "{node}.example.net". Empty: ssh_host, else the endpoint's host.
host = $host
# Not set: what ~/.ssh/config says of the host, else root and 22.
$user_line
$port_line
# [] is the agent's keys and ssh's default identities.
identity_files = $identity_files
# Host keys are always checked.
known_hosts = $known_hosts
concurrency = 100
connect_timeout = 10.0
command_timeout = 20.0
# true: wg is run as `sudo -n wg show ...`.
sudo = $sudo
# "installed": the nodes' authorized_keys forces what `wgaudit probe-script` prints.
probe = "inline"

[mesh]
device = $device
pools = $pools
# "partial": a registered peer that is not there is no finding.
topology = "full"

[regions]
# A regular expression over node names with a group (?P<region>...). Empty: names say nothing.
name_pattern = $name_pattern
# Run on each node; prints its region. Empty: nodes are not asked.
command = ""

# The address plan, if there is one: region = prefix.
# [regions.pools]
# sin = "10.16.0.0/12"

[coverage]
# The share of registered nodes that must be seen before a sweep may say clean.
minimum = 1.0
"""
)


@click.command("init")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(FILE_NAME),
    show_default=True,
    help="Where to write.",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.option("--yes", is_flag=True, help="Ask nothing: options and defaults say it all.")
@click.option(
    "--consul-url", default="http://127.0.0.1:8500", show_default=True, help="URL of the Consul agent."
)
@click.option(
    "--prefix", default="wireguard/nodes/", show_default=True, help="Where the registrations are in KV."
)
@click.option(
    "--layout",
    type=click.Choice(("kv-json", "kv-fields", "catalog")),
    default="kv-json",
    show_default=True,
    help="How a registration is stored in Consul.",
)
@click.option(
    "--datacenter",
    "datacenters",
    multiple=True,
    help="Datacenter to read; may be given again. Default: the agent's own.",
)
@click.option(
    "--token-file", default="", help="File that holds the Consul token. Default: $CONSUL_HTTP_TOKEN."
)
@click.option(
    "--ssh-user", default="", help="Login on the nodes. Default: what ~/.ssh/config says, else root."
)
@click.option(
    "--ssh-port", type=click.IntRange(1, 65535), help="SSH port. Default: what ~/.ssh/config says, else 22."
)
@click.option(
    "--ssh-host", "host", default="", help="Template of the node's SSH host, e.g. '{node}.example.net'."
)
@click.option(
    "--identity-file", "identity_files", multiple=True, help="Private key for SSH. May be given again."
)
@click.option(
    "--known-hosts", default="~/.ssh/known_hosts", show_default=True, help="Host keys that are trusted."
)
@click.option("--sudo/--no-sudo", default=False, help="Run wg by sudo.")
@click.option("--device", default="wg0", show_default=True, help="WireGuard device on each node.")
@click.option(
    "--pool",
    "pools",
    multiple=True,
    default=("10.0.0.0/8",),
    show_default=True,
    help="Prefix that mesh addresses come from; may be given again.",
)
@click.option("--name-pattern", default="", help="Regular expression with (?P<region>…) over node names.")
@click.pass_context
def command(ctx: click.Context, /, output: Path, force: bool, yes: bool, **answers: object) -> int:
    """Write a commented configuration file.

    Asks for what matters most and was not given as an option; with --yes, or where stdin is no
    terminal, it asks nothing. `wgaudit doctor` then tries what it wrote.
    """
    try:
        taken = output.exists()
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None
    if taken and not force:
        raise UsageError(f"{output} is there already; --force replaces it")
    if not yes and sys.stdin.isatty():
        for parameter, question in (
            ("consul_url", "Consul's address"),
            ("prefix", "Prefix of the registrations in KV"),
            ("ssh_user", "SSH user on the nodes (empty: as ~/.ssh/config says, else root)"),
            ("device", "WireGuard device"),
        ):
            if ctx.get_parameter_source(parameter) is click.core.ParameterSource.DEFAULT:
                answers[parameter] = click.prompt(question, default=answers[parameter], err=True)
    text = _configuration(answers)
    # The file must be readable again: a bad answer is reported now, not at three in the morning.
    parse_config(tomllib.loads(text), str(output))
    try:
        write_whole(output, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None
    running.say(f"wgaudit: wrote {output}; now try it: wgaudit doctor --config {output}")
    return 0


def _configuration(answers: dict[str, object]) -> str:
    def value(name: str) -> str:
        answer = answers[name]
        # A JSON string of printable text is a TOML string too; a list of them is a TOML list.
        return json.dumps(list(answer) if isinstance(answer, tuple) else answer, ensure_ascii=False)

    def optional(key: str, name: str, example: object) -> str:
        # A key that is set wins over ~/.ssh/config and the environment, so only an answer sets it.
        return f"{key} = {value(name)}" if answers[name] else f"# {key} = {json.dumps(example)}"

    return _TEMPLATE.substitute(
        url=value("consul_url"),
        prefix=value("prefix"),
        layout=value("layout"),
        datacenters=value("datacenters"),
        token_line=optional("token_file", "token_file", "/etc/wgaudit/token"),
        host=value("host"),
        user_line=optional("user", "ssh_user", "root"),
        port_line=optional("port", "ssh_port", 22),
        identity_files=value("identity_files"),
        known_hosts=value("known_hosts"),
        sudo=value("sudo"),
        device=value("device"),
        pools=value("pools"),
        name_pattern=value("name_pattern"),
    )
