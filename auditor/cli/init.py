"""`wgaudit init`: read the registry, show what can be guessed of it, and write a commented configuration."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli import complaints, running, screen
from auditor.errors import GapReason, RegistryError, UsageError
from auditor.settings.commented_file import Answers, commented_text
from auditor.settings.consul_environment import ConsulEnvironment, consul_environment
from auditor.settings.file import FILE_NAME, Config, config_text, parse_config
from auditor.state.files import write_whole
from auditor.values.registry_guess import FIELDS

if TYPE_CHECKING:
    from auditor.service.first_setup import FoundRegistry

_TIMEOUT = 5.0
"""Seconds for one read while somebody waits."""
_DEFAULTS = Answers()
_WITHOUT = "-"
"""Answer that goes on without the registry."""
_LINE_OF_OPTION = {
    "prefix": "prefix",
    "layout": "layout",
    "datacenters": "datacenters",
    "device": "device",
    "pools": "pools",
    "name_pattern": "name_pattern",
}


@dataclass
class _Setup:
    """What is known so far, and whether somebody is there to be asked."""

    answers: Answers
    given: Mapping[str, Any]
    """Options of the command line."""
    asking: bool
    file: Path | None
    environment: ConsulEnvironment

    def origin_of(self, url: str) -> str:
        """Say which variable names this URL; "" where none does."""
        found = self.environment.values.get("url") == url and "consul_url" not in self.given
        return f" (${self.environment.variables['url']})" if found else ""

    def ask(self, question: str, default: str) -> str:
        """Ask, on stderr."""
        return str(click.prompt(question, default=default, show_default=bool(default), err=True)).strip()


@click.command("init")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(FILE_NAME),
    show_default=True,
    help="Where to write.",
)
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@click.option("--yes", is_flag=True, help="Ask nothing: options, then guesses, then defaults say it all.")
@click.option(
    "--registry/--no-registry",
    default=True,
    show_default=True,
    help="Whether to read the registry and guess from it.",
)
@click.option(
    "--consul-url", help="URL of the Consul agent. Default: $CONSUL_HTTP_ADDR, else http://127.0.0.1:8500."
)
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    help="Read this file, written by `consul kv export`, in Consul's place.",
)
@click.option("--prefix", help="Where the registrations are in KV. Default: guessed, else wireguard/nodes/.")
@click.option(
    "--layout",
    type=click.Choice(("kv-json", "kv-fields", "catalog")),
    help="How a registration is stored in Consul. Default: guessed, else kv-json.",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME=PATH",
    help=f"Dotted path of a field ({', '.join(FIELDS)}); may be given again. Default: guessed.",
)
@click.option(
    "--datacenter",
    "datacenters",
    multiple=True,
    help="Datacenter to read; may be given again. Default: the agent's own.",
)
@click.option(
    "--token-file",
    help="File that holds the Consul token. Default: $CONSUL_HTTP_TOKEN_FILE; else $CONSUL_HTTP_TOKEN is used.",
)
@click.option("--ssh-user", help="Login on the nodes. Default: what ~/.ssh/config says, else root.")
@click.option(
    "--ssh-port", type=click.IntRange(1, 65535), help="SSH port. Default: what ~/.ssh/config says, else 22."
)
@click.option("--ssh-host", "host", help="Template of the node's SSH host, e.g. '{node}.example.net'.")
@click.option(
    "--identity-file", "identity_files", multiple=True, help="Private key for SSH. May be given again."
)
@click.option("--known-hosts", help="Host keys that are trusted. Default: ~/.ssh/known_hosts.")
@click.option("--sudo/--no-sudo", default=False, help="Run wg by sudo.")
@click.option("--device", help="WireGuard device on each node. Default: guessed, else wg0.")
@click.option(
    "--pool",
    "pools",
    multiple=True,
    help="Prefix that mesh addresses come from; may be given again. Default: guessed, else 10.0.0.0/8.",
)
@click.option(
    "--name-pattern",
    help="Regular expression with (?P<region>…) over node names. Default: guessed, else none.",
)
def command(
    output: Path,
    force: bool,
    yes: bool,
    registry: bool,
    file: Path | None,
    fields: tuple[str, ...],
    **options: Any,
) -> int:
    """Read the registry, and write a commented configuration that fits it.

    Where Consul is: --consul-url, $CONSUL_HTTP_ADDR, or it asks. Of what it finds there it guesses prefix, layout,
    fields, pools and the region's place in names, says what each guess rests on, and lets you correct it. It writes
    nothing to Consul, and shows no key and no value.

    With --yes, or where stdin is no terminal, it asks nothing: options count, then guesses, then defaults. A state
    that seems to mean "retired" is then only proposed in a comment. If the registry cannot be read, it says so and
    goes on without. What it wrote is read back, as by `wgaudit config check`; `wgaudit doctor` then tries it.
    """
    try:
        taken = output.exists()
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None
    if taken and not force:
        raise UsageError(f"{output} is there already; --force replaces it")
    asking = not yes and sys.stdin is not None and sys.stdin.isatty()
    given = {name: value for name, value in options.items() if value not in (None, (), False)}
    if fields:
        given["fields"] = _paths(fields)
    setup = _begun(given, asking, file, consul_environment(os.environ))
    found = _found(setup) if registry else None
    if found is not None:
        setup.answers = _with_guess(setup, _corrected(setup, found) if asking else found)
    elif asking:
        _ask_for_registry(setup)
    if asking:
        _ask_for_ssh(setup)
    _write(output, setup.answers)
    return 0


def _paths(fields: tuple[str, ...]) -> dict[str, str]:
    paths = dict(text.partition("=")[::2] for text in fields)
    for name, path in paths.items():
        if name not in FIELDS or not path:
            raise UsageError(f"--field: {name}: write NAME=PATH with one of {', '.join(FIELDS)}")
    return paths


def _begun(
    given: Mapping[str, Any], asking: bool, file: Path | None, environment: ConsulEnvironment
) -> _Setup:
    """Take options, then Consul's variables, then defaults."""
    consul = {key: value for key, value in environment.values.items() if key != "url"}
    if "token_file" in given:
        consul["token_file"] = given["token_file"]
    if file is not None:
        consul = {"file": str(file.absolute())}
    url = given.get("consul_url") or environment.values.get("url") or _DEFAULTS.url
    for variable, why in environment.unused:
        complaints.complain(f"{variable} is set and not used: {why}")
    if environment.token and "token_file" not in consul and file is None:
        complaints.complain(
            "CONSUL_HTTP_TOKEN is used here and not written; where it is not set later (cron), write "
            "consul.token_file"
        )
    known = {name: value for name, value in given.items() if name not in ("consul_url", "token_file")}
    setup = _Setup(Answers(consul=consul, url=url, **known), given, asking, file, environment)
    if asking and file is None and "consul_url" not in given and "url" not in environment.values:
        setup.answers = replace(setup.answers, url=setup.ask("Consul's address", url))
    return setup


def _found(setup: _Setup) -> FoundRegistry | None:
    """Read the registry; ask for what was wrong until it can be read, or the person goes on without."""
    from auditor.service import parts
    from auditor.service.advice import advice
    from auditor.service.first_setup import look_at_registry

    while True:
        answers = setup.answers
        where = str(setup.file) if setup.file is not None else answers.url
        complaints.complain(f"reading {where}{setup.origin_of(where)} …")
        forbidden = False
        try:
            config = _consul_config(answers)
            token = parts.consul_token(config) if setup.file is None else None
            start = setup.given.get("prefix", "")
            found = running.run(look_at_registry(config.consul, token, file=setup.file, start=start))
            if found is not None:
                return _with_options(setup, found)
            said = f"no registration is recognized in {where}: nothing has a 32-byte key and an address"
            if setup.file is None and token is None:
                said, forbidden = f"{said}; no token was sent, so Consul may have left out all there is", True
        except RegistryError as error:
            said = f"{error.reason}: {error.detail}; {advice(error.reason, error.detail)}"
            forbidden = error.reason is GapReason.CONSUL_FORBIDDEN
        except UsageError as error:
            said = str(error)
        complaints.complain(f"{said}")
        if not setup.asking or not _asked_again(setup, forbidden=forbidden):
            complaints.complain("going on without the registry: nothing is guessed")
            return None


def _asked_again(setup: _Setup, *, forbidden: bool) -> bool:
    """Ask for what may help; False: the person goes on without the registry."""
    consul = dict(setup.answers.consul)
    if setup.file is not None:
        answer = setup.ask(f"The file ({_WITHOUT} goes on without it)", str(setup.file))
        setup.file = Path(answer)
        setup.answers = replace(setup.answers, consul={**consul, "file": str(setup.file.absolute())})
    elif forbidden:
        answer = setup.ask(f"File that holds the Consul token ({_WITHOUT} goes on without it)", "")
        setup.answers = replace(setup.answers, consul={**consul, "token_file": answer})
    else:
        answer = setup.ask(f"Consul's address ({_WITHOUT} goes on without it)", setup.answers.url)
        setup.answers = replace(setup.answers, url=answer)
    if answer != _WITHOUT:
        return True
    setup.answers = replace(setup.answers, consul=consul, url=setup.given.get("consul_url") or _DEFAULTS.url)
    return False


def _consul_config(answers: Answers) -> Config:
    """Build the part of the configuration that the registry is read with. Raises `ConfigError`."""
    consul = {
        **answers.consul,
        "url": answers.url,
        "timeout": _TIMEOUT,
        "datacenters": list(answers.datacenters),
    }
    return parse_config({"consul": consul}, "the answers")


def _with_options(setup: _Setup, found: FoundRegistry) -> FoundRegistry:
    """Let options win over guesses. Raises `UsageError` for a prefix or layout that holds no registration."""
    said = {
        line: _written(setup.given[name]) for name, line in _LINE_OF_OPTION.items() if name in setup.given
    }
    for name, text in {**said, **setup.given.get("fields", {})}.items():
        corrected = found.corrected(name, text)
        if corrected is None:
            raise UsageError(f"--{name} {text}: no registration is recognized there")
        found = corrected
    return found


def _written(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _show(setup: _Setup, found: FoundRegistry) -> None:
    from auditor.reports.terminal.guess_page import guess_page

    where = str(setup.file) if setup.file is not None else setup.answers.url
    colour: screen.Colour = "auto" if sys.stderr is not None and sys.stderr.isatty() else "never"
    page = guess_page(where, found.lines(), found.guess.private, screen.layout(None, colour, 0))
    click.echo(page, err=True, nl=False)


def _corrected(setup: _Setup, found: FoundRegistry) -> FoundRegistry:
    """Show the guess, and take corrections line by line until there are no more."""
    from auditor.service.first_setup import LINES

    while True:
        _show(setup, found)
        answer = setup.ask("Enter takes all of it; a number corrects that line", "")
        if not answer:
            return found
        if not answer.isdecimal() or not 0 < int(answer) <= len(LINES):
            complaints.complain(f"write a number from 1 to {len(LINES)}, or nothing")
            continue
        line = found.lines()[int(answer) - 1]
        text = setup.ask(f"{line.name} ({_WITHOUT} for none)", line.value)
        try:
            found = _elsewhere(setup, found, line.name, "" if text == _WITHOUT else text)
        except UsageError as error:
            complaints.complain(f"{error}")


def _elsewhere(setup: _Setup, found: FoundRegistry, name: str, text: str) -> FoundRegistry:
    """Take a correction; a prefix that was not looked at is read now."""
    from auditor.service import parts
    from auditor.service.first_setup import look_at_registry

    corrected = found.corrected(name, text)
    if corrected is not None:
        return corrected
    config = _consul_config(setup.answers)
    other = None
    if name == "prefix":
        try:
            token = parts.consul_token(config)
            other = running.run(look_at_registry(config.consul, token, file=setup.file, start=text))
            other = other if other is not None and other.candidate.prefix == text else None
        except RegistryError as error:
            raise UsageError(f"{error.reason}: {error.detail}") from None
    if other is None:
        raise UsageError(f"{name}: no registrations are recognized at {text}")
    return other


def _with_guess(setup: _Setup, found: FoundRegistry) -> Answers:
    """Put the lines of the guess into the answers, each with what it rests on."""
    if not setup.asking:
        _show(setup, found)
    lines = {line.name: line for line in found.lines()}
    retired = _list(lines["retired"].value)
    fields = {name: lines[name].value for name in FIELDS if lines[name].value}
    return replace(
        setup.answers,
        prefix=lines["prefix"].value or _DEFAULTS.prefix,
        layout=lines["layout"].value,
        datacenters=_list(lines["datacenters"].value),
        retired=retired if setup.asking else (),
        device=lines["device"].value or _DEFAULTS.device,
        pools=_list(lines["pools"].value) or _DEFAULTS.pools,
        name_pattern=lines["name_pattern"].value,
        reasons={
            line.name: line.why
            for line in lines.values()
            if not line.corrected
            and line.value
            and line.why
            and (line.name != "device" or found.guess.device)
        },
        fields=fields,
    )


def _list(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _ask_for_registry(setup: _Setup) -> None:
    """Ask for what could not be guessed."""
    answers, given = setup.answers, setup.given
    if "prefix" not in given:
        prefix = setup.ask("Prefix of the registrations in KV", answers.prefix)
        answers = replace(answers, prefix=prefix)
    if "device" not in given:
        answers = replace(answers, device=setup.ask("WireGuard device", answers.device))
    setup.answers = answers


def _ask_for_ssh(setup: _Setup) -> None:
    """Ask how the nodes are reached."""
    answers, given = setup.answers, setup.given
    if "ssh_user" not in given:
        user = setup.ask("SSH user on the nodes (empty: as ~/.ssh/config says, else root)", "")
        answers = replace(answers, ssh_user=user)
    if "known_hosts" not in given:
        hosts = setup.ask("File with the nodes' host keys (known_hosts)", answers.known_hosts)
        answers = replace(answers, known_hosts=hosts)
    if "identity_files" not in given:
        identity = setup.ask("Private key for SSH (empty: the agent's keys and ssh's own)", "")
        answers = replace(answers, identity_files=(identity,) if identity else ())
    setup.answers = answers


def _write(output: Path, answers: Answers) -> None:
    """Write the file, once it can be read again, and say what is still to be done."""
    from auditor.service.config_check import config_faults

    text = commented_text(answers)
    # The file must be readable again: a bad answer is reported now, not at three in the morning.
    config = parse_config(tomllib.loads(text), str(output))
    try:
        write_whole(output, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None
    written = config_text(output)
    faults = config_faults(config, written, str(output))
    for fault in faults:
        complaints.complain(f"still to do: {fault}")
    then = "then try it" if faults else "now try it"
    complaints.complain(f"wrote {output}; {then}: wgaudit doctor --config {output}")
