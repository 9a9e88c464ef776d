"""Commands that the documents show, and the walk of a person who types them one after another at a terminal."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.test_docs import README, ROOT, blocks, prose
from tests.ways.terminal import COLUMNS, Shown, at_a_terminal

RUNBOOK = ROOT / "docs" / "runbook.md"
INCIDENT = "fixtures/incident/snapshot.json.gz"
_CONTROL = re.compile(r"[\x00-\x06\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_VERDICT = re.compile(r"^(CLEAN|FINDINGS|INCONCLUSIVE)\b")


def shown_in(path: Path) -> set[str]:
    """The calls of `wgaudit` in a document: each line of its shell blocks, without the comment, and inline code."""
    lines = {
        re.split(r"\s+#", line.strip())[0]
        for block in blocks(path)
        if block.language == "sh"
        for line in block.text.splitlines()
        if line.strip().startswith("wgaudit ")
    }
    inline = {" ".join(code.split()) for code in re.findall(r"`(wgaudit\s[^`]+)`", prose(path))}
    return lines | {call for call in inline if "|" not in call and "…" not in call}


class Step(NamedTuple):
    """One command of a way, as its document has it."""

    line: str
    code: int = 0
    """The exit code that it ends with."""
    instead: Mapping[str, str] = {}
    """By the document's word: what stands in its place on this fleet."""
    answers: Sequence[tuple[str, str]] = ()
    """The end of a question, and what is typed."""
    more: Sequence[str] = ()
    """Words that are added: they make it smaller, not another command."""
    for_programs: bool = False
    """What it prints is read by a program: its lines may be of any width."""
    name: str = ""
    """Under which its screen is kept, where the line is typed more than once."""
    before: Callable[[], None] | None = None
    """Done by the world before it."""


def walk(
    steps: Iterable[Step], folder: Path, environment: Mapping[str, str] | None = None
) -> dict[str, tuple[Step, Shown]]:
    """Type each command in `folder`; return the screens by name."""
    screens = {}
    for step in steps:
        if step.before:
            step.before()
        words = [step.instead.get(word, word) for word in shlex.split(step.line)] + [*step.more]
        shown = at_a_terminal(*words[1:], folder=folder, answers=step.answers, environment=environment)
        screens[step.name or step.line] = (step, shown)
    return screens


def faults(step: Step, shown: Shown) -> list[str]:
    """What is wrong with a screen, whatever the command: its exit code, its width, what it lets through."""
    wide = [] if step.for_programs else shown.too_wide
    found = [f"wider than {COLUMNS} columns: {line}" for line in wide]
    if shown.code != step.code:
        found.append(f"exit code {shown.code}, not {step.code}")
    if "Traceback" in shown.text or "internal error" in shown.text:
        found.append("a traceback")
    if _CONTROL.search(shown.written):
        found.append("a control character")
    return [f"{step.line}: {fault}\n{shown.text.rstrip()}" for fault in found]


def reads_well(shown: Shown) -> bool:
    """Whether the first line on a sweep's screen is the verdict, and the last one the summary."""
    lines = [line for line in shown.lines if line]
    verdicts = [place for place, line in enumerate(lines) if _VERDICT.match(line)]
    end = " ".join(" ".join(lines[-4:]).split())  # folded anywhere
    return bool(verdicts) and verdicts[0] == 0 and "exit code" in end


__all__ = ["INCIDENT", "README", "ROOT", "RUNBOOK", "Step", "faults", "reads_well", "shown_in", "walk"]
