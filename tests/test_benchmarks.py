"""The frame of the benchmarks: what it says of figures, what it writes, when it fails."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import collectors, results, watch
from benchmarks.__main__ import PARTS, exit_code, main
from benchmarks.figures import CannotRun, Curve, Figure, Results, ratios
from benchmarks.meter import CommandCost, metered
from benchmarks.run import Outcome, read_outcome, written_outcome

FOLDER = Path(__file__).parent.parent / "benchmarks"
LARGEST_PICTURE = 60_000  # bytes

RATIO = Figure("client CPU a host, against clush", "×", (0.16, 0.15, 0.17), target=1 / 5)
BYTES = Figure("bytes of the sweep", "bytes", (15_000.0,), target=20_000, exact=True)
FACTS = {"CPU": "Some | CPU", "Commit": "0123456789ab"}
VERSIONS = {"Python": "3.11.7", "parallel-ssh": "not installed"}


def written(outcomes: list[Outcome], plots: list[Path] | None = None) -> str:
    return results.markdown(outcomes, plots or [], FACTS, VERSIONS)


def drawn(outcomes: list[Outcome], *, quick: bool = False) -> str:
    console = Console(width=200, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    with console.file:
        console.print(results.terminal(outcomes, quick=quick))
        return console.export_text()


# Parts


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_a_file_of_its_own(part: str) -> None:
    text = (FOLDER / f"{part}.py").read_text(encoding="utf-8")
    assert "def measure(quick: bool) -> Results:" in text


@pytest.mark.parametrize("part", PARTS)
def test_each_part_has_its_line_in_the_readme(part: str) -> None:
    """With what is measured and against what."""
    assert re.search(
        rf"^\| `{part}` \|.+\|.+\|$", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_parts_import_without_the_tests_tools_and_without_the_peers() -> None:
    """`.venv-bench` has no pytest, `.venv` has no peers and no matplotlib."""
    program = (
        "import importlib, sys\n"
        "sys.modules.update(dict.fromkeys(('pytest', 'hypothesis', 'matplotlib', 'pssh', 'ansible')))\n"
        f"for part in {PARTS}: importlib.import_module('benchmarks.' + part)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=FOLDER.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_part_that_is_not_there_is_a_mistake_in_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--quick", "shh"])
    assert ended.value.code == 2
    assert "no such part: shh" in capsys.readouterr().err


def test_the_watchs_targets_are_those_of_the_largest_fleet() -> None:
    """Smaller ones are shown; growth is over all of them."""
    costs = [
        watch.WatchCost(nodes, [nodes / 200], [nodes * 1e-5] * 3, 90_000 * nodes, [0.3, 0.5, 1.9], [4.0, 6.9])
        for nodes in (500, 5_000)
    ]
    small, large = (
        {item.name: item for item in watch.results(costs).figures if item.name.endswith(at)}
        for at in ("N=500", "N=5,000")
    )
    assert [item.target for item in small.values()] == [None] * 6
    assert {item.target for item in large.values()} == {0.7, 2.0, 7.0, 1 / 10, 6.0, 90.0}
    assert large["the slowest of 3 writes, N=5,000"].median == 1.9
    assert all(item.met for item in watch.results(costs).figures if "exponent" in item.name)
    against = large["CPU of an idle watch against `sweep --alert` each minute, N=5,000"]
    assert against.median == pytest.approx(5_000 * 1e-5 / (25 / 60))


def test_an_auditor_is_measured_against_itself_in_the_same_run_once_its_start_does_not_decide() -> None:
    """Smaller fleets are shown; their target would be one of the program's start."""

    def look(seconds: float, collectors_cpu: float = 0.0) -> collectors.Look:
        crossed = collectors.Crossed()
        crossed.add("wgaudit.seen.fra.0", "", b"{}" * 100)
        cost = CommandCost(0, seconds, 0.0, 1)
        return collectors.Look(cost, {}, crossed, collectors_cpu)

    for nodes, target in ((500, None), (2_000, 1 / 5)):
        pair = collectors.Paired(
            nodes, "peace", [look(10.0), look(20.0), look(10.0)], {2: [look(1.0, 9.0), look(4.0), look(1.5)]}
        )
        ratio = next(item for item in collectors.paired_figures(pair) if item.unit == "×")
        assert (ratio.samples, ratio.target) == ((0.1, 0.2, 0.15), target)


def test_what_crosses_nats_is_counted_as_its_protocol_sends_it() -> None:
    crossed = collectors.Crossed()
    crossed.add("a.b.c", "inbox", b'{"kind":"text","digest":"d1","part":0}')
    crossed.add("a.b.d", "", b'{"kind":"text","digest":"d1","part":1}')
    crossed.add("a.c", "", b'{"kind":"seen","observations":[{"name":"x"},{"name":"y"}]}')
    crossed.add("_INBOX.x", "", b"")
    assert crossed.frames == {
        "a.b": len(b"PUB a.b.c inbox 38\r\n") + 38 + 2 + len(b"PUB a.b.d 38\r\n") + 38 + 2,
        "a.c": len(b"PUB a.c 58\r\n") + 58 + 2,
        "_INBOX.x": len(b"PUB _INBOX.x 0\r\n") + 2,
    }
    assert crossed.texts() == ["d1"]
    assert crossed.forms("observations") == len('{"name":"x"},{"name":"y"},')


# What becomes of a part


def test_results_come_back_from_a_parts_process_as_they_were() -> None:
    found = Results((RATIO, BYTES), (Curve("CPU", "wgaudit", "ms", ((500, 1.5), (1000, 3.0))),), ("Why.",))
    told = json.loads(json.dumps(written_outcome(lambda _: found, quick=False)))
    assert read_outcome("ssh", told) == Outcome("ssh", found)


def test_a_part_that_cannot_run_here_says_why() -> None:
    def measure(_: bool) -> Results:
        raise CannotRun("needs wireguard-go")

    told = written_outcome(measure, quick=False)
    assert read_outcome("node_cpu", told) == Outcome("node_cpu", lacks="needs wireguard-go")


def test_an_exact_figure_that_misses_its_target_fails_the_run() -> None:
    missed = replace(BYTES, samples=(20_001.0,))
    assert exit_code([Outcome("growth", Results((missed,)))]) == 1


def test_an_exact_figure_on_its_target_does_not_fail_the_run() -> None:
    assert exit_code([Outcome("growth", Results((replace(BYTES, samples=(20_000.0,)),)))]) == 0


def test_a_time_that_misses_its_target_does_not_fail_the_run() -> None:
    """A busy machine must not decide."""
    assert exit_code([Outcome("ssh", Results((replace(RATIO, samples=(0.9,)),)))]) == 0


def test_a_part_that_broke_fails_the_run() -> None:
    assert exit_code([Outcome("ssh", failed="exit code 1")]) == 1


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_a_part_that_cannot_run_fails_the_run_in_ci_only(
    ci: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There nothing may be missing: what was not counted was not met either."""
    monkeypatch.setenv("CI", ci)
    assert exit_code([Outcome("ssh", lacks="needs sshd")]) == code


# Words


@pytest.mark.parametrize(
    ("figure", "median", "target"),
    [
        (RATIO, "1/6.25", "≤ 1/5"),
        (replace(RATIO, samples=(1.75,)), "1.75×", "≤ 1/5"),
        (replace(RATIO, samples=(0.93,), target=1.0), "0.93×", "≤ 1×"),
        (replace(RATIO, samples=(23.4,), target=20, kind="at least"), "23.4×", "≥ 20×"),
        (replace(RATIO, samples=(0.12,), target=None), "0.12×", ""),
        (BYTES, "15,000 bytes", "≤ 20,000 bytes"),
        (Figure("sweep --help", "s", (0.214,), target=0.25), "0.21 s", "≤ 0.25 s"),
        (Figure("texts fetched", "", (1,), target=1, exact=True), "1", "≤ 1"),
        (Figure("peak memory", "MB", (321.4,), target=400), "321 MB", "≤ 400 MB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_is_written_as_its_target_is(figure: Figure, median: str, target: str) -> None:
    assert (results.formatted(figure, figure.median), results.target(figure)) == (median, target)


def test_a_ratio_is_taken_run_by_run() -> None:
    assert ratios([1.0, 4.0], [2.0, 2.0]) == (0.5, 2.0)


def test_the_range_is_of_all_runs() -> None:
    assert results.spread(RATIO) == "1/6.67 – 1/5.88"


def test_a_target_is_met_or_missed() -> None:
    missed = replace(RATIO, samples=(0.21,))
    assert [results.verdict(one, quick=False) for one in (RATIO, missed)] == ["met", "MISSED"]


def test_a_figure_without_a_target_is_neither_met_nor_missed() -> None:
    assert results.verdict(replace(RATIO, target=None), quick=False) == ""


def test_the_quick_form_judges_exact_figures_alone() -> None:
    assert [results.verdict(one, quick=True) for one in (RATIO, BYTES)] == ["not judged", "met"]


def test_the_table_has_figure_median_range_target_and_verdict() -> None:
    line = next(line for line in drawn([Outcome("ssh", Results((RATIO,)))]).splitlines() if "clush" in line)
    assert re.split(r"\s{2,}", line.strip()) == [
        RATIO.name,
        "1/6.25",
        "1/6.67 – 1/5.88",
        "3",
        "≤ 1/5",
        "met",
    ]


def test_the_table_does_not_hide_a_part_that_could_not_run() -> None:
    assert "NOT MEASURED: node_cpu: needs wireguard-go" in drawn(
        [Outcome("node_cpu", lacks="needs wireguard-go")]
    )


# results.md


def test_the_file_says_machine_versions_and_commit() -> None:
    text = written([Outcome("ssh", Results((RATIO,)))])
    assert "| CPU | Some \\| CPU |" in text
    assert "| Commit | 0123456789ab |" in text
    assert "| parallel-ssh | not installed |" in text


def test_the_file_has_a_line_for_each_figure() -> None:
    figure = replace(RATIO, samples=(0.25,), note="500 connections")
    row = "| client CPU a host, against clush | 1/4 |  | 1 | ≤ 1/5 | **MISSED** | 500 connections |"
    assert row in written([Outcome("ssh", Results((figure,)))])


def test_the_file_begins_with_how_many_targets_were_met() -> None:
    """A part that was not measured counts against it."""
    outcomes = [Outcome("ssh", Results((RATIO, BYTES))), Outcome("node_cpu", lacks="needs wireguard-go")]
    text = written(outcomes)
    assert "**2 targets met, 0 missed; 1 of 2 parts not measured.**" in text
    assert "- **NOT MEASURED: node_cpu: needs wireguard-go**" in text


def test_the_file_keeps_what_a_part_has_to_say() -> None:
    assert "\n\nThe profile says why.\n" in written(
        [Outcome("ssh", Results((), (), ("The profile says why.",)))]
    )


def test_the_file_shows_the_plots_beside_it() -> None:
    assert "](cpu.png)" in written([], [FOLDER / "cpu.png"])


def test_a_part_is_renewed_in_an_older_file_and_says_of_which_commit_it_is() -> None:
    """The other parts stay as they are; the first lines count what stands there now."""
    old = written(
        [Outcome("ssh", Results((RATIO,))), Outcome("start", Results((BYTES,), (), ("Why.",)))],
        [FOLDER / "cpu.png"],
    )
    missed = Outcome("ssh", Results((replace(RATIO, samples=(0.5,)), BYTES)))
    text = results.renewed(old, [missed, Outcome("watch", Results((RATIO,)))], {"Commit": "fedcba"})
    assert "**2 targets met, 0 missed.**" in old
    assert "**3 targets met, 1 missed.**" in text
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "ssh",
        "start",
        "watch",
        "Against the number of nodes",
    ]
    assert text.count("Newer than the rest: commit fedcba.") == 2
    assert "\n\nWhy.\n" in text
    assert results.renewed(text, [missed], {"Commit": "fedcba"}) == text


def test_the_machine_is_described() -> None:
    facts = results.machine()
    assert set(facts) == {"CPU", "Cores", "Memory", "Kernel", "System"}
    assert all(facts.values())


def test_pictures_that_are_kept_are_small() -> None:
    assert not [file.name for file in FOLDER.glob("*.png") if file.stat().st_size > LARGEST_PICTURE]


# The meter


def busy(seconds: float) -> str:
    return f"import time\nwhile time.process_time() < {seconds}: pass\n"


def test_the_meter_counts_a_command_with_its_children(tmp_path: Path) -> None:
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy(0.2)!r}])"
    cost = metered([sys.executable, "-c", program], folder=tmp_path, environment={}, output=tmp_path / "out")
    assert cost.code == 0
    assert 0.2 <= cost.cpu < 1.0


def test_the_meter_counts_what_a_command_leaves_behind(tmp_path: Path) -> None:
    """As ansible does with ssh: the orphan is ended, and its CPU counts."""
    orphan = f"{busy(0.2)}print(end='', flush=True)\nopen('done', 'w').close()\ntime.sleep(60)"
    program = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {orphan!r}])\n"
        "while not os.path.exists('done'): time.sleep(0.01)\n"
    )
    cost = metered([sys.executable, "-c", program], folder=tmp_path, environment={}, output=tmp_path / "out")
    assert 0.2 <= cost.cpu < 1.0


def test_the_meter_keeps_the_commands_exit_code_and_output(tmp_path: Path) -> None:
    cost = metered(["sh", "-c", "echo out; echo err >&2; exit 3"], folder=tmp_path, environment={},
                   output=tmp_path / "out")  # fmt: skip
    assert cost.code == 3
    assert (tmp_path / "out").read_text() == "out\n"
    assert (tmp_path / "out.err").read_text() == "err\n"
