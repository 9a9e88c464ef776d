"""Check of a configuration beyond its form: its files can be read, its secrets are there, its parts can be built.

Nothing is asked over the network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from auditor.errors import ConfigError, ConfigFault
from auditor.service import parts
from auditor.service.alert_parts import build_heartbeat, build_notifiers
from auditor.service.collectors_there import check_login
from auditor.service.draining import build_drainer
from auditor.settings.faults import dotted
from auditor.settings.file import Config
from auditor.settings.lines import Path as KeyPath
from auditor.settings.lines import key_lines


class _Found(NamedTuple):
    """A fault, and the path of the key or table that it belongs to."""

    path: KeyPath
    reason: str
    file: Path | None = None
    """The file that cannot be read; None: another fault, whose reason names key or table itself."""


def config_faults(config: Config, text: str, file: str) -> tuple[ConfigFault, ...]:
    """List what makes a configuration of good form unusable here, in the order of the file.

    text: what it was read from, for the lines; file: its name.
    """
    found = [
        _Found(path, f"cannot read {path_there}: {reason}", path_there)
        for path, path_there in _named_files(config, ())
        if (reason := _why_unreadable(path_there))
    ]
    missing = [str(item.file) for item in found]
    for path, build in _builders(config):
        try:
            build()
        except ConfigError as error:
            # A file that cannot be read is told with its own line already, and so is what several parts are built of.
            if not any(name in str(error) for name in missing) and str(error) not in {
                item.reason for item in found
            }:
                found.append(_Found(path, str(error)))
    lines = key_lines(text, [item.path for item in found])
    faults = [
        ConfigFault(file, dotted(item.path) if item.file else "", item.reason, lines.get(item.path))
        for item in found
    ]
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: fault.line or 0))


def _named_files(table: BaseModel, path: KeyPath) -> Iterator[tuple[KeyPath, Path]]:
    """Yield the key and the path of each file that the configuration names to be read."""
    for name, value in table:
        here = (*path, name)
        if here == ("state", "path") or name not in table.model_fields_set:
            continue
        entries = {here: value}
        if isinstance(value, tuple):
            entries = {(*here, number): entry for number, entry in enumerate(value)}
        elif isinstance(value, dict):
            entries = {(*here, str(key)): entry for key, entry in value.items()}
        for place, entry in entries.items():
            if isinstance(entry, BaseModel):
                yield from _named_files(entry, place)
            elif isinstance(entry, Path):
                yield place, entry


def _why_unreadable(file: Path) -> str:
    """Return why this user cannot read the file; "" if it can."""
    try:
        # A pipe is opened without waiting for its writer.
        os.close(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        return ""
    except OSError as error:
        return error.strerror or type(error).__name__


def _builders(config: Config) -> Iterator[tuple[KeyPath, Callable[[], object]]]:
    """Yield each table's path with what builds its part."""
    yield ("consul",), lambda: parts.build_registry(config)
    elsewhere = config.collectors
    if (
        not elsewhere.regions or elsewhere.fallback == "local" or config.witnesses
    ):  # else nobody is looked at from here
        yield ("ssh",), lambda: parts.build_nodes(config)
    yield ("collectors",), lambda: check_login(config)
    yield ("repair",), lambda: build_drainer(config, ())
    yield ("alerts",), lambda: build_heartbeat(config)
    for number, witness in enumerate(config.witnesses):
        asked = config.model_copy(update={"witnesses": (witness,)})
        yield ("witnesses", number), lambda asked=asked: parts.build_witnesses(asked)  # type: ignore[misc]
    for number, notifier in enumerate(config.notifiers):
        alone = config.model_copy(update={"notifiers": (notifier,)})
        yield ("notifiers", number), lambda alone=alone: build_notifiers(alone)  # type: ignore[misc]
