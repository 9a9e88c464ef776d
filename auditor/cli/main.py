"""Command `wgaudit`: imports only the subcommand that is run, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import io
import logging
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import click

from auditor.errors import WgauditError
from auditor.values.text import for_log, lines_for_log

# Exit codes of the contract. 1 (findings) and 0 (clean) come from a verdict only.
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_INTERRUPTED = 130

# name → (module, what it does). `--help` reads this and imports none of the modules.
COMMANDS = {
    "sweep": ("auditor.cli.sweep", "Look at the whole fleet once and report."),
    "explain": ("auditor.cli.explain", "Tell the whole story of one address, node or key."),
    "alerts": ("auditor.cli.alerts", "Test, preview, list and retry what is sent to people."),
    "silence": ("auditor.cli.silence", "Mute planned findings for a while."),
    "history": ("auditor.cli.history", "Show past sweeps, and the life of each finding."),
    "plan": ("auditor.cli.plan", "Say who keeps each contested address, who moves where, and how."),
    "apply": ("auditor.cli.apply", "Carry out a plan, one move at a time, with a way back."),
    "adopt": ("auditor.cli.adopt", "Claim every registered address for its node."),
    "allocate": ("auditor.cli.allocate", "Give a node its address, confirmed by Consul, or none."),
    "release": ("auditor.cli.release", "Free a node's address, with a quarantine."),
    "demo": ("auditor.cli.demo", "Run a sweep on an embedded fleet with the incident in it."),
    "init": ("auditor.cli.init", "Write a commented configuration file."),
    "doctor": ("auditor.cli.doctor", "Try each part: Consul, registrations, SSH, wg."),
    "probe-script": ("auditor.cli.probe_script", "Print the script for nodes that force one command."),
}


class HarmlessFormatter(logging.Formatter):
    """Formatter of one harmless line of stderr for each record; a traceback follows line by line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """Return the record's line."""
        return for_log(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802  (logging's name)
        """Return the traceback, its indentation kept."""
        return lines_for_log(super().formatException(ei))


class LazyGroup(click.Group):
    """Group that imports a command's module when that command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's signature)
        """List the commands, in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  (click's signature)
        """Import and return the command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name][0]).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]}.command is no click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's signature)
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-v", "--verbose", is_flag=True, help="Say on stderr what is being done, with tracebacks of surprises."
)
@click.version_option(metadata.version("wgaudit"), prog_name="wgaudit", message="%(prog)s %(version)s")
def cli(verbose: bool) -> None:
    """Find duplicate mesh addresses across a WireGuard fleet, and who is cut off from whom.

    \b
    wgaudit demo              see it work, without a fleet
    wgaudit init              write a configuration
    wgaudit doctor            try each part of it
    wgaudit sweep             look at the fleet; exit 0 clean, 1 findings, 3 inconclusive
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(HarmlessFormatter("wgaudit: %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, handlers=[handler])
    # Its debug log repeats each message to every host; its warnings come back to us as exceptions.
    logging.getLogger("asyncssh").setLevel(logging.INFO if verbose else logging.ERROR)
    logging.getLogger("filelock").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.WARNING)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. Every error ends here, as a line on stderr for each fault."""

    try:
        outcome = cli.main(args=arguments, prog_name="wgaudit", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        click.echo(lines_for_log(said.getvalue()), err=True, nl=False)
        return EXIT_USAGE
    except WgauditError as error:
        for line in error.lines:
            _complain(line)
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except SystemExit:
        # click's own answer to a reader of stdout that went away; its exit code would be 1, findings.
        return EXIT_INCONCLUSIVE
    except Exception as error:
        logging.getLogger(__name__).debug("internal error", exc_info=True)
        _complain(f"internal error: {type(error).__name__}: {error}; run `wgaudit --verbose …` and report it")
        # Not 1: that means findings. An audit that broke has seen nothing that it could vouch for.
        return EXIT_INCONCLUSIVE
    return outcome if isinstance(outcome, int) else 0


def _complain(text: str) -> None:
    text = f"wgaudit: {for_log(text)}"
    try:
        click.echo(text, err=True)
    except UnicodeEncodeError:
        click.echo(text.encode("ascii", "backslashreplace").decode(), err=True)


def run() -> None:
    """Run as the console script."""
    sys.exit(main())
