"""How the reader of a report or an alert goes on: commands as they can run them, and links into the documentation."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from auditor.values.text import for_shell

Command = tuple[str, ...]
"""A command, word by word, unquoted."""

PROGRAM: Command = ("wgaudit",)
"""The program where nobody says how the reader runs it."""
NEW_RECORDING = "sweep.json.gz"
"""Name of a recording in a command that is proposed."""
FINDINGS = "docs/findings.md"
"""Document that explains each check, within the project."""
REPLAYABLE = frozenset({"sweep", "explain", "affected", "plan"})
"""Commands that can look at a recording in place of the fleet."""

_PLAIN = re.compile(r"[A-Za-z0-9._:/@+=,-]+")


@dataclass(frozen=True, slots=True)
class Guide:
    """Way of the reader to run wgaudit, and to read its documentation. All proposed commands are made here."""

    program: Command = PROGRAM
    """The words that run wgaudit where the reader is (`alerts.command`), such as `ssh audit-1 wgaudit`."""
    config: str | None = None
    """The configuration file that commands must name; None: it is found without being named."""
    recording: str | None = None
    """The file that holds what this sweep saw (`--record`, `--replay`), so that it can be shown again."""
    docs_url: str = ""
    """Where a browser reads docs/findings.md; "": nowhere, and the document is only named."""

    def command(self, name: str, *options: str, target: str | None = None) -> Command:
        """Return a command of wgaudit, word by word: of this sweep's recording, where there is one and it can be.

        name: of the command; of one in a group, with the group's (`alerts list`).
        """
        files: Command = ("--config", self.config) if self.config is not None else ()
        if self.recording is not None and name in REPLAYABLE:
            files = (*files, "--replay", self.recording)
        if target is None:
            return (*self.program, *name.split(), *files, *options)
        if target.startswith("-"):  # it would be taken for an option
            return (*self.program, *name.split(), *files, *options, "--", target)
        return (*self.program, *name.split(), target, *files, *options)

    def mention(self, name: str, *options: str, target: str | None = None) -> str:
        """Spell a command for a sentence, in backquotes; see `command`."""
        command = self.command(name, *options, target=target)
        return f"`{self.spelled(command) or shlex.join(command)}`"

    def again(self, *options: str) -> Command:
        """Return the command that shows this sweep with other options. One that was not recorded is done again."""
        if self.recording is None:
            options = ("--record", NEW_RECORDING, *options)
        return self.command("sweep", *options)

    def spelled(self, command: Command) -> str | None:
        """Spell a command for a shell, in one line; see `words`."""
        words = self.words(command)
        return " ".join(words) if words is not None else None

    def words(self, command: Command) -> tuple[str, ...] | None:
        """Spell each word of a command for a shell; None where no shell's word gives one of them.

        Behind a program of the reader's own there may be a second shell, as with ssh, which would read quotes anew: a
        word that needs them, such as a hostile name, is not spelt there either.
        """
        if self.program != PROGRAM and not all(map(_PLAIN.fullmatch, command[len(self.program) :])):
            return None
        try:
            return tuple(map(for_shell, command))
        except ValueError:
            return None

    def documentation(self, check: str) -> str:
        """Return the place that explains a check: a link, where a browser reads the documentation, or a path."""
        return f"{self.docs_url or FINDINGS}#{check}"


INSTALLED = Guide()
"""Guide to the program as it is installed here, which finds its configuration."""
