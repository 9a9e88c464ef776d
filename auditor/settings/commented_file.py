"""Text of a commented configuration, from the answers of a first setup."""

from __future__ import annotations

import json
import string
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from auditor.settings.consul import ConsulFields
from auditor.settings.file import SCHEMA_FILE

_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers that a configuration begins with. What is empty, and not a default, is not set."""

    consul: Mapping[str, str] = field(default_factory=dict)
    """Further keys of `[consul]`: token_file, ca_file, cert_file, key_file, tls_server_name, file."""
    url: str = "http://127.0.0.1:8500"
    prefix: str = "wireguard/nodes/"
    layout: str = "kv-json"
    datacenters: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    """Paths that are not the defaults, by field."""
    host: str = ""
    ssh_user: str = ""
    ssh_port: int | None = None
    identity_files: tuple[str, ...] = ()
    known_hosts: str = "~/.ssh/known_hosts"
    sudo: bool = False
    device: str = "wg0"
    pools: tuple[str, ...] = ("10.0.0.0/8",)
    name_pattern: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """What an answer was guessed from, by its name; such a line is said to be a guess."""


_TEMPLATE = string.Template(
    """\
#:schema ./$schema
# wgaudit's configuration. docs/configuration.md explains every key; an unknown one is refused. Editors with a TOML
# plugin check it by the schema that `wgaudit config schema --output $schema` writes beside it.

[consul]
# https goes with ca_file, cert_file and key_file.
url = $url
# Ends with a slash: Consul's own match would also take wireguard/nodes-old/.
${prefix_reason}prefix = $prefix
# kv-json: one JSON value a node. kv-fields: one key a field. catalog: node meta.
layout = $layout
# [] is the agent's own datacenter, ["*"] every one.
datacenters = $datacenters
# Else `token`, else $$CONSUL_HTTP_TOKEN.
$token_line
$more# Values of the field `state` that mean: not in the mesh any more.
${retired_reason}$retired_line
# Seconds.
timeout = 10.0

# The dotted path of each value inside a registration.
[consul.fields]
$fields
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
${device_reason}device = $device
# The prefixes that mesh addresses are given from.
${pools_reason}pools = $pools
# "partial": a registered peer that is not there is no finding.
topology = "full"

[regions]
# A regular expression over node names with a group (?P<region>...). Empty: names say nothing.
${name_pattern_reason}name_pattern = $name_pattern
# Run on each node; prints its region. Empty: nodes are not asked.
command = ""

# The address plan, if there is one: region = prefix.
# [regions.pools]
# sin = "10.16.0.0/12"

[coverage]
# The share of registered nodes that must be seen before a sweep may say clean.
minimum = 1.0

# Ask the servers themselves, at mesh addresses and from other nodes: who is there? Needs port-forwarding for the
# audit's key (docs/security.md).
# [[witnesses]]
# type = "nats"
# What a node's server calls itself.
# name = "{node}"
"""
)


def commented_text(answers: Answers) -> str:
    """Write the configuration of these answers, each key with what it means and what a guess rests on."""

    def reason(name: str) -> str:
        words = answers.reasons.get(name)
        return _comment(f"Guessed: {words}.") if words else ""

    fields = "".join(
        f"{reason(name)}{name} = {_value(answers.fields.get(name) or known.default)}\n"
        for name, known in ConsulFields.model_fields.items()
    )
    more = {key: value for key, value in answers.consul.items() if key != "token_file"}
    return _TEMPLATE.substitute(
        schema=SCHEMA_FILE,
        url=_value(answers.url),
        prefix=_value(answers.prefix),
        layout=_value(answers.layout),
        datacenters=_value(answers.datacenters),
        token_line=_optional("token_file", answers.consul.get("token_file"), "/etc/wgaudit/token"),
        more="".join(f"{key} = {_value(value)}\n" for key, value in more.items()),
        retired_line=_optional("retired", answers.retired, ["decommissioned"]),
        fields=fields,
        host=_value(answers.host),
        user_line=_optional("user", answers.ssh_user, "root"),
        port_line=_optional("port", answers.ssh_port, 22),
        identity_files=_value(answers.identity_files),
        known_hosts=_value(answers.known_hosts),
        sudo=_value(answers.sudo),
        device=_value(answers.device),
        pools=_value(answers.pools),
        name_pattern=_value(answers.name_pattern),
        **{
            f"{name}_reason": reason(name)
            for name in ("prefix", "retired", "device", "pools", "name_pattern")
        },
    )


def _value(value: object) -> str:
    # A JSON string of printable text is a TOML string too; a list of them is a TOML list.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def _optional(key: str, value: object, example: object) -> str:
    # A key that is set wins over ~/.ssh/config and the environment, so only an answer sets it.
    return f"{key} = {_value(value)}" if value else f"# {key} = {json.dumps(example)}"


def _comment(words: str) -> str:
    """Fold words, of which some are foreign, into comment lines: nothing in them can end a comment."""
    harmless = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in words)
    return "".join(f"# {line}\n" for line in textwrap.wrap(harmless, _WIDTH, break_on_hyphens=False))
