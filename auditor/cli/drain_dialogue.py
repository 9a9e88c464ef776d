"""Dialogue of `drain` and `undrain`: which nodes are meant, whether to go on, and what became of each."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.cli import running, settings
from auditor.cli.complaints import complain
from auditor.errors import DrainFailed, Stopped, UsageError
from auditor.values.drains import DrainPolicy
from auditor.values.guide import Guide
from auditor.values.text import count, for_log, listed

if TYPE_CHECKING:
    from auditor.repair.drain.interface import DrainTarget
    from auditor.service.drain_run import DrainTargets
    from auditor.settings.file import Config

EXIT_FAILED = 1


@dataclass(frozen=True)
class DrainWish:
    """Words of one call."""

    names: Sequence[str]
    every: bool = False
    """All that the state remembers as drained."""
    back: bool = False
    yes: bool = False
    dry_run: bool = False
    reason: str = ""

    @property
    def command(self) -> str:
        """Name of the command."""
        return "undrain" if self.back else "drain"


def drain(wish: DrainWish, config_path: Path | None) -> int:
    """Carry out a wish; return the exit code."""
    from auditor.service.alert_state import has_state, state_place
    from auditor.service.drain_run import read_targets
    from auditor.state.places import place_name

    if bool(wish.names) is wish.every:
        raise UsageError(f"{wish.command}: name nodes{', or give --all' if wish.back else ''}")
    config, _ = settings.read_config(config_path)
    policy = config.repair.drain_policy()
    if policy is None:
        raise UsageError(
            f"{wish.command}: repair.drain is not set, so it is not known how; docs/configuration.md#out-of-production"
        )
    if not (wish.yes or wish.dry_run) and not (sys.stdin is not None and sys.stdin.isatty()):
        raise UsageError(f"{wish.command}: there is no terminal to ask at; --yes goes on without asking")
    found = running.run(read_targets(config, complain))
    targets = found.drained() if wish.every else found.named(wish.command, wish.names, back=wish.back)
    if not targets:
        running.tell("the state remembers no node that is out of production")
        return 0
    guide = settings.guide(config, config_path)
    if wish.dry_run or not wish.yes:
        _show(policy, targets, wish)
    if wish.dry_run:
        running.tell(f"{count(len(targets), 'node')}; nothing was changed")
        return 0
    if not wish.yes and not _agreed(targets, wish):
        running.tell("nothing was changed")
        return EXIT_FAILED
    failed = running.run(_carry_out(config, found, targets, wish))
    if not wish.back and not has_state(config):
        name = place_name(state_place(config))
        complain(f"there is no state database {name}, so no report will say that a node is drained")
    return _end(failed, targets, wish, guide)


def _show(policy: DrainPolicy, targets: Sequence[DrainTarget], wish: DrainWish) -> None:
    from auditor.service.drain_run import plan_words

    for target in targets:
        try:
            words = plan_words(policy, target, back=wish.back)
        except DrainFailed as error:
            words = f"cannot be: {error}"
        running.tell(for_log(f"{target.node}  {words}"))


def _agreed(targets: Sequence[DrainTarget], wish: DrainWish) -> bool:
    what = "Put back into production" if wish.back else "Take out of production"
    names = for_log(listed([str(target.node) for target in targets], total=len(targets)), most=200)
    with running.ended_by_signals():
        click.echo(f"{what}: {names}? [y/N] ", nl=False)
        line = sys.stdin.buffer.readline(1000)
    return line.decode("utf-8", "replace").strip().lower() in ("y", "yes")


async def _carry_out(
    config: Config, found: DrainTargets, targets: Sequence[DrainTarget], wish: DrainWish
) -> list[DrainTarget]:
    """Take each node out or put it back, and say what became of it. Returns those that failed."""
    from auditor.service.drain_run import carried_out
    from auditor.service.draining import NotedDrainer, build_drainer
    from auditor.service.operation_notes import noted_drain

    by = running.person()
    drainer = build_drainer(config, found.registrations)
    if drainer is None:
        raise UsageError(f"{wish.command}: repair.drain is not set")
    noted = NotedDrainer(drainer, config, by, complain, reason=wish.reason)
    reason = f"wgaudit drain by {by}{f': {wish.reason}' if wish.reason else ''}"
    failed = []
    left = {target.node: target for target in targets}
    with noted_drain(config, list(left), by, complain, back=wish.back) as operation:
        async with aclosing(carried_out(noted, targets, reason, back=wish.back)) as outcomes:
            async for outcome in outcomes:
                target = left.pop(outcome.node)
                if outcome.failed:
                    failed.append(target)
                    complain(f"{outcome.node}: {outcome.words}")
                else:
                    running.tell(for_log(f"{outcome.node}  {outcome.words}"))
        operation.outcome = f"{len(failed)} of {len(targets)} failed" if failed else "done"
    return failed


def _end(failed: Sequence[DrainTarget], targets: Sequence[DrainTarget], wish: DrainWish, guide: Guide) -> int:
    if not failed:
        return 0
    again = guide.command(wish.command, *(str(target.node) for target in failed))
    what = "put back into production" if wish.back else "taken out of production"
    complain(
        f"{wish.command}: {len(failed)} of {count(len(targets), 'node')} not {what}, as far as is known; again: "
        f"{guide.spelled(again) or shlex.join(again)}; exit code {EXIT_FAILED}"
    )
    return EXIT_FAILED


def refused(wish: DrainWish, config_path: Path | None) -> int:
    """Carry out a wish; where the registry cannot be read, say so and return the exit code of a failure."""
    from auditor.errors import Surprise

    try:
        return drain(wish, config_path)
    except (Surprise, Stopped) as error:
        return settings.refuse(f"{wish.command}: {error}; nothing was changed", EXIT_FAILED)
