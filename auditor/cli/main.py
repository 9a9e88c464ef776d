"""Command `wgaudit`: imports only the subcommand that is run, and turns errors into one line and an exit code."""

from __future__ import annotations

import gc
import importlib
import inspect
import io
import logging
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from auditor.cli.complaints import complain, say_lines
from auditor.cli.examples import EXAMPLES
from auditor.cli.loading import EXIT_INTERRUPTED, have_loaded
from auditor.errors import WgauditError
from auditor.service.version import VERSION
from auditor.values.text import for_log, lines_for_log

# Exit codes of the contract. 1 (findings) and 0 (clean) come from a verdict only.
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3

GARBAGE = (20_000, 10, 10)
"""Thresholds of the garbage collector's generations. What a command reads of a fleet stays until its end; at Python's
own thresholds, looking through it over and over takes a twentieth of its CPU."""

# name → (module, what it does). `--help` reads this and imports none of the modules.
COMMANDS = {
    "sweep": ("auditor.cli.sweep", "Look at the whole fleet once and report."),
    "watch": ("auditor.cli.watch", "Follow the fleet: tell at once, and show it on a page."),
    "collector": ("auditor.cli.collector", "Look at a region's nodes, for auditors elsewhere."),
    "collectors": ("auditor.cli.collectors", "List the collectors that are there, and regions without one."),
    "explain": ("auditor.cli.explain", "Tell the story of an address, node, key, finding or check."),
    "affected": ("auditor.cli.affected", "List every observer: whom it reaches and whom it loses."),
    "ask": ("auditor.cli.ask", "Ask who answers at an address, from where."),
    "nodes": ("auditor.cli.nodes", "List every server, registered and live."),
    "alerts": ("auditor.cli.alerts", "Test, preview, list and retry what is sent to people."),
    "silence": ("auditor.cli.silence", "Mute planned findings for a while."),
    "history": ("auditor.cli.history", "Show past sweeps, and the life of each finding."),
    "timeline": ("auditor.cli.timeline", "Tell what happened, in one order: the draft of a post-mortem."),
    "diff": ("auditor.cli.diff", "Compare two sweeps: what came, went and changed."),
    "plan": ("auditor.cli.plan", "Say who keeps each contested address, and who moves where."),
    "apply": ("auditor.cli.apply", "Carry out a plan, one move at a time, with a way back."),
    "drain": ("auditor.cli.drain", "Take nodes out of production."),
    "undrain": ("auditor.cli.undrain", "Put nodes back into production."),
    "verify": ("auditor.cli.verify", "Say whether a node is where the registry says, and nowhere else."),
    "adopt": ("auditor.cli.adopt", "Claim every registered address for its node."),
    "check": ("auditor.cli.check", "Say whether a registration may be written, before it is."),
    "allocate": ("auditor.cli.allocate", "Give a node its address, confirmed by Consul, or none."),
    "release": ("auditor.cli.release", "Free a node's address, with a quarantine."),
    "restore": ("auditor.cli.restore", "Put a node's lost registration back."),
    "demo": ("auditor.cli.demo", "Run a sweep on an embedded fleet with the incident in it."),
    "init": ("auditor.cli.init", "Read the registry, and write a configuration."),
    "config": ("auditor.cli.config", "Check and show the configuration."),
    "doctor": ("auditor.cli.doctor", "Try each part: Consul, nodes by SSH, notifiers, state."),
    "completion": ("auditor.cli.completion", "Print the script that completes words in bash, zsh or fish."),
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
        have_loaded()
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]}.command is no click command")
        _show_examples(command, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; one that is not there is refused with the nearest names."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise click.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Propose commands without importing them."""
        options = click.Command.shell_complete(self, ctx, incomplete)
        proposed = [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*proposed, *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's signature)
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _show_examples(command: click.Command, name: str) -> None:
    """End the help of a command, and of each of its subcommands, with calls that a reader can copy."""
    if name in EXAMPLES:
        calls = textwrap.indent(inspect.cleandoc(EXAMPLES[name]), "  ")
        command.epilog = f"\b\nExamples:\n{calls}"
    if isinstance(command, click.Group):
        for subcommand, each in command.commands.items():
            _show_examples(each, f"{name} {subcommand}")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-v", "--verbose", is_flag=True, help="Say on stderr what is being done, with tracebacks of surprises."
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="Configuration file of the command; the command's own --config wins.",
)
@click.version_option(VERSION, prog_name="wgaudit", message="%(prog)s %(version)s")
def cli(verbose: bool, config_path: Path | None) -> None:  # noqa: ARG001  (commands take it from the context)
    """Find duplicate mesh addresses across a WireGuard fleet, and who is cut off from whom.

    \b
    wgaudit demo              see it work, without a fleet
    wgaudit init              write a configuration
    wgaudit doctor            try each part of it
    wgaudit sweep             look: exit 0 clean, 1 findings, 3 inconclusive
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
        say_lines(said.getvalue().rstrip("\n"))
        return EXIT_USAGE
    except WgauditError as error:
        for line in error.lines:
            complain(line)
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted")
        return EXIT_INTERRUPTED
    except SystemExit as end:
        # click's own answer to a shell that completes a word (0), or to a reader of stdout that went away: that one's
        # exit code would be 1, findings.
        return 0 if end.code == 0 else EXIT_INCONCLUSIVE
    except Exception as error:
        logging.getLogger(__name__).debug("internal error", exc_info=True)
        complain(f"internal error: {type(error).__name__}: {error}; run `wgaudit --verbose …` and report it")
        # Not 1: that means findings. An audit that broke has seen nothing that it could vouch for.
        return EXIT_INCONCLUSIVE
    return outcome if isinstance(outcome, int) else 0


def run() -> None:
    """Run the command line, and exit."""
    gc.set_threshold(*GARBAGE)
    code = main()
    gc.freeze()  # the interpreter's end would look through all that is left once more: a tenth of a sweep's CPU
    sys.exit(code)
