"""`wgaudit config`: check the configuration, show where each value comes from, and print its JSON Schema."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import click

from auditor.cli import complaints, formats, running, screen, settings
from auditor.errors import ConfigError, UsageError
from auditor.values.text import count


@click.group("config")
def command() -> None:
    """Check and show the configuration, and describe it for editors."""


@command.command("check")
@settings.config_option
def check(config_path: Path | None) -> int:
    """Tell every fault of the configuration with its line, without asking anything over the network.

    Its form; that files and secrets that it names can be read by this user; and that each part can be built of it.
    `wgaudit doctor` tries the parts themselves.

    Exit code 0 if there is no fault, else 2.
    """
    from auditor.cli.exposure import exposed
    from auditor.service.config_check import config_faults
    from auditor.settings.file import config_text

    config, path = settings.read_config(config_path, warn=False)
    if path is None:
        raise UsageError("config check: there is no configuration file; `wgaudit init` writes one")
    text = config_text(path)
    if faults := config_faults(config, text, str(path)):
        raise ConfigError(faults)
    for line in exposed(config, path):
        complaints.complain(f"{line}")
    tables = len(tomllib.loads(text))
    running.tell(f"ok  {path}: no fault in {count(tables, 'table')}")
    return 0


@command.command("show")
@settings.config_option
@formats.format_option("table", "json")
@click.option("--set", "only_set", is_flag=True, help="Leave out what has its default.")
@click.argument("keys", metavar="[KEY]...", nargs=-1)
def show(config_path: Path | None, format_name: str, only_set: bool, keys: tuple[str, ...]) -> int:
    """Show each value and where it comes from: a line of the file, an environment variable, or the default.

    KEY narrows it to a table or a key, such as `consul` or `consul.token`. A secret is never shown, nor its length.
    """
    from auditor.reports.json.config_v1 import config_document
    from auditor.reports.terminal.config_page import config_page
    from auditor.settings.file import config_text
    from auditor.settings.origins import shown_settings
    from auditor.values.setting_origins import OriginKind

    config, path = settings.read_config(config_path)
    text = config_text(path) if path is not None else ""
    file = str(path) if path is not None else None
    every = shown_settings(config, tomllib.loads(text), text, file or "", os.environ)
    for key in keys:
        if not any(_is_within(item.name, key) for item in every):
            raise UsageError(f"config show: no key or table is called {key}; `wgaudit config show` lists all")
    shown = [
        item
        for item in every
        if (not keys or any(_is_within(item.name, key) for key in keys))
        and not (only_set and item.origin.kind is OriginKind.DEFAULT)
    ]
    if format_name == "json":
        running.deliver(config_document(file, shown).text(), None)
    else:
        running.deliver(config_page(file, shown, screen.layout(None, "auto", len(shown))), None)
    return 0


def _is_within(name: str, key: str) -> bool:
    return name == key or name.startswith((f"{key}.", f"{key}["))


@command.command("schema")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write it to this file, not to stdout: beside wgaudit.toml.",
)
def schema(output: Path | None) -> int:
    """Print the JSON Schema (draft 2020-12) of the configuration, with which editors complete and check it.

    The first line of what `wgaudit init` writes, `#:schema ./wgaudit.schema.json`, names it for editors that know TOML.
    """
    from auditor.settings.json_schema import config_schema

    running.deliver(config_schema(), output)
    return 0
