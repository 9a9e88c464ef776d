"""Settings from the command line's options: the parts that commands share."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditor.values.text import for_log

if TYPE_CHECKING:
    from auditor.settings.file import Config

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


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
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
        click.echo(f"wgaudit: {for_log(line)}", err=True)
    return config, path


def refuse(error: object, code: int) -> int:
    """Print one line on stderr, and return the exit code."""
    click.echo(f"wgaudit: {for_log(str(error))}", err=True)
    return code
