"""Results in words: one table for the terminal, and `results.md` with the machine and the versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from benchmarks.figures import Figure, Results
from benchmarks.run import REPOSITORY, Outcome

PEERS = ("clustershell", "parallel-ssh", "ansible-core", "python-consul2", "matplotlib")
OURS = ("asyncssh", "cryptography", "pydantic", "rich")
_PLOTS = "## Against the number of nodes"
_FRACTION = 0.5
"""Ratios from here down are written like the targets: 1/5."""


def formatted(figure: Figure, value: float) -> str:
    """Format a value in the figure's unit: `1/5.2`, `0.93×`, `12.4 ms`, `1,024 bytes`."""
    number = _bare(figure, value)
    if figure.unit == "×":
        return number if number.startswith("1/") else f"{number}×"
    return f"{number} {figure.unit}".rstrip()


def target(figure: Figure) -> str:
    """Format the target, `≤ 1/5`; empty without one."""
    if figure.target is None:
        return ""
    return f"{'≤' if figure.kind == 'at most' else '≥'} {formatted(figure, figure.target)}"


def spread(figure: Figure) -> str:
    """Format the smallest and the largest run, without the unit; empty for a single run."""
    if len(figure.samples) == 1:
        return ""
    return f"{_bare(figure, min(figure.samples))} – {_bare(figure, max(figure.samples))}"


def verdict(figure: Figure, *, quick: bool) -> str:
    """Return `met`, `MISSED` or nothing; with `quick`, times are not judged."""
    if figure.met is None:
        return ""
    if quick and not figure.exact:
        return "not judged"
    return "met" if figure.met else "MISSED"


def _bare(figure: Figure, value: float) -> str:
    small = figure.target is not None and figure.kind == "at most" and figure.target <= _FRACTION
    if figure.unit == "×" and small and 0 < value < 1:
        return f"1/{_number(1 / value)}"
    return _number(value)


def _number(value: float) -> str:
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def terminal(outcomes: Sequence[Outcome], *, quick: bool) -> Group:
    """Render one table with a section per part, and below it the parts that could not run."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("Figure", "Median", "Range", "Runs", "Target", ""):
        table.add_column(heading, justify="left" if heading in ("Figure", "") else "right", overflow="fold")
    for outcome in outcomes:
        if outcome.results is None:
            continue
        table.add_section()
        table.add_row(Text(outcome.part, style="bold"))
        if not outcome.results.figures:
            table.add_row(Text("nothing that is the same on every machine", style="dim"))
        for figure in outcome.results.figures:
            said = verdict(figure, quick=quick)
            table.add_row(
                Text(figure.name),
                formatted(figure, figure.median),
                spread(figure),
                str(len(figure.samples)),
                target(figure),
                Text(said, style={"met": "green", "MISSED": "bold red"}.get(said, "dim")),
            )
    lines = [Text(line, style="bold red") for line in not_measured(outcomes)]
    return Group(table, *lines, Text(tally(outcomes, quick=quick), style="bold"))


def not_measured(outcomes: Iterable[Outcome]) -> list[str]:
    """Return one line for each part without results, with the reason."""
    lines = []
    for outcome in outcomes:
        if outcome.lacks:
            lines.append(f"NOT MEASURED: {outcome.part}: {outcome.lacks}")
        if outcome.failed:
            lines.append(f"FAILED: {outcome.part}: {outcome.failed}")
    return lines


def tally(outcomes: Sequence[Outcome], *, quick: bool) -> str:
    """Summarise: `12 targets met, 1 missed; 2 parts not measured`."""
    figures = [figure for one in outcomes if one.results for figure in one.results.figures]
    verdicts = [verdict(figure, quick=quick) for figure in figures]
    text = f"{verdicts.count('met')} targets met, {verdicts.count('MISSED')} missed"
    absent = sum(one.results is None for one in outcomes)
    return f"{text}; {absent} of {len(outcomes)} parts not measured" if absent else text


def markdown(
    outcomes: Sequence[Outcome], plots: Sequence[Path], facts: Mapping[str, str], versions: Mapping[str, str]
) -> str:
    """Render `results.md`."""
    lines = [
        "# What wgaudit costs",
        "",
        "Written by `make bench`; [README.md](README.md) says what is measured and how to read it.",
        "",
        f"**{tally(outcomes, quick=False)}.** Medians, with the range of all runs. A ratio is taken run by run.",
        "",
        *_table(("Machine", ""), facts.items()),
        "",
        *_table(("Version of", ""), versions.items()),
    ]
    if absent := not_measured(outcomes):
        lines += ["", "## Not measured", "", *(f"- **{_cell(line)}**" for line in absent)]
    for outcome in outcomes:
        if outcome.results is not None:
            lines += ["", *_section(outcome.part, outcome.results)]
    if plots:
        lines += ["", _PLOTS, ""]
        lines += [f"![{file.stem} against the number of nodes]({file.name})" for file in plots]
    return "\n".join(lines) + "\n"


def renewed(text: str, outcomes: Sequence[Outcome], facts: Mapping[str, str]) -> str:
    """Renew the parts of an older `results.md` that were measured now; each says when, of which commit and on what.

    A part that the file does not have comes before the plots. The first lines count what stands in it then.
    """
    for outcome in outcomes:
        if outcome.results is None:
            continue
        said = ", ".join(f"{name.lower()} {value}" for name, value in facts.items())
        heading, *rest = _section(outcome.part, outcome.results)
        section = "\n".join([heading, "", f"Newer than the rest: {said}.", *rest]) + "\n"
        old = re.search(rf"^## {outcome.part}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        plots = text.find(_PLOTS)
        start, end = old.span() if old else (plots, plots) if plots >= 0 else (len(text), len(text))
        text = text[:start] + section + ("\n" if end < len(text) else "") + text[end:]
    met, missed = (len(re.findall(rf"\| {word} \|", text)) for word in ("met", r"\*\*MISSED\*\*"))
    return re.sub(
        r"^\*\*\d+ targets met, \d+ missed", f"**{met} targets met, {missed} missed", text, flags=re.MULTILINE
    )


def _section(part: str, found: Results) -> list[str]:
    rows = [
        (
            one.name,
            formatted(one, one.median),
            spread(one),
            str(len(one.samples)),
            target(one),
            _strong(one),
            one.note,
        )
        for one in found.figures
    ]
    lines = [f"## {part}", ""]
    lines += _table(("Figure", "Median", "Range", "Runs", "Target", "", "How"), rows)
    for note in found.notes:
        lines += ["", note]
    return lines


def _strong(figure: Figure) -> str:
    said = verdict(figure, quick=False)
    return f"**{said}**" if said == "MISSED" else said


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def machine() -> dict[str, str]:
    """Describe the machine that the figures were measured on."""
    processors = re.findall(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", _read("/proc/meminfo"), re.MULTILINE)
    return {
        "CPU": processors[0] if processors else platform.machine(),
        "Cores": str(len(os.sched_getaffinity(0))),
        "Memory": f"{int(memory[1]) / 1024**2:.1f} GiB" if memory else "not known",
        "Kernel": f"{platform.system()} {platform.release()}",
        "System": platform.freedesktop_os_release().get("PRETTY_NAME", "not known"),
    }


def software() -> dict[str, str]:
    """Return the versions of wgaudit and of the other tools."""
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
    return {
        "Python": platform.python_version(),
        "OpenSSH": ssh.split(",")[0].strip(),
        **{name: _version(name) for name in ("wgaudit", *OURS, *PEERS)},
    }


def commit() -> str:
    """Return the measured commit, and whether the tree differed from it."""
    git = ["git", "-C", str(REPOSITORY)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode != 0:
        return "not known"
    # What this run writes itself is no change of what it measured.
    status = [*git, "status", "--porcelain", "--", ".", ":!benchmarks/results.md", ":!benchmarks/*.png"]
    changed = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    return head.stdout.strip()[:12] + (" with changes that are not committed" if changed else "")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _read(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")
