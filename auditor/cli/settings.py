"""Settings from the command line's options: the parts that commands share."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.cli.complaints import complain
from auditor.errors import ConfigError

if TYPE_CHECKING:
    from auditor.settings.file import Config
    from auditor.values.guide import Guide

log = logging.getLogger(__name__)


class Seconds(click.FloatRange):
    """Option type of a finite number of seconds: `nan` and `inf` would pass a range."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the number. Fails as a usage error."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number of seconds", param, ctx)
        return number


def _or_before_the_command(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    """Take the file that `wgaudit --config FILE COMMAND` names, where the command itself names none."""
    return value if value is not None else ctx.find_root().params.get(param.name or "")


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    callback=_or_before_the_command,
    help="Configuration file. Default: $WGAUDIT_CONFIG, ./wgaudit.toml, the user's and the system's config folder.",
)
replay_option = click.option(
    "--replay",
    type=click.Path(path_type=Path),
    help="Judge a recorded snapshot instead of looking at the fleet. It brings its own policy along.",
)


def read_config(explicit: Path | None, *, warn: bool = True) -> tuple[Config, Path | None]:
    """Read the settings; return them and their file, or the defaults without one. Raises `ConfigError`.

    `warn`: one line on stderr for each file with a secret in it that others may read.
    """
    # pydantic takes as long to load as all the rest of a command's `--help`.
    from auditor.cli.exposure import exposed
    from auditor.settings.file import read_found

    config, path = read_found(explicit, os.environ, Path.cwd())
    if path is None:
        log.info("no configuration file; using the defaults")
        return config, None
    log.info("configuration: %s", path)
    for line in exposed(config, path) if warn else ():
        complain(line)
    return config, path


def named_config(explicit: Path | None) -> Config | None:
    """Read the settings that a replay's report takes commands and links from; None where no file is named.

    Raises `ConfigError`.
    """
    if explicit is None and not os.environ.get("WGAUDIT_CONFIG"):
        return None
    config, _ = read_config(explicit, warn=False)
    return config


def found_config(explicit: Path | None) -> Config | None:
    """Read the settings for a page that can do without them; None where they cannot be read and no file was named.

    Raises `ConfigError` for a file that --config names.
    """
    try:
        config, path = read_config(explicit, warn=False)
    except ConfigError as error:
        if explicit is not None:
            raise
        log.info("without the configuration: %s", error)
        return None
    return config if path is not None else None


def guide(config: Config | None, named: Path | None = None, recording: Path | None = None) -> Guide:
    """Make the commands that a report proposes run where the caller is.

    config: None with --replay, where none is named. named: the file that --config names. recording: the file that holds
    what the sweep saw.
    """
    from auditor.values.guide import PROGRAM, Guide

    program = config.alerts.command if config is not None else PROGRAM
    return Guide(
        program=program,
        # A program of one's own knows its configuration.
        config=str(named) if named is not None and program == PROGRAM else None,
        recording=str(recording) if recording is not None else None,
        docs_url=config.alerts.docs_url if config is not None else "",
    )


def refuse(error: object, code: int) -> int:
    """Print one line on stderr, and return the exit code."""
    complain(str(error))
    return code
