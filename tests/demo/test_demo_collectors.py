"""`wgaudit demo --collectors`: sweeps through a collector a region, one of which is killed, over a real nats-server."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from auditor.cli.main import main
from auditor.demo import demo_nats
from auditor.demo.demo_nats import nats_program, server_configuration
from tests.demo.test_command import leftovers, run, running
from tests.gather.nats.documented import documented
from tests.parts.nats import require_nats


def left_running(folder: Path) -> list[str]:
    """What still runs in a demo's folder: servers, collectors, commands on nodes."""
    found = []
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if cwd.readlink().is_relative_to(folder):
                found.append((cwd.parent / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_a_killed_collector_costs_its_own_region_and_no_other_and_nothing_is_left_behind(
    tmp_path: Path,
) -> None:
    require_nats()
    done = run(tmp_path, "demo", "--collectors", "--nodes", "15", "--no-progress")
    assert done.returncode == 0, done.stdout + done.stderr
    before, after = done.stdout.split("3 of 4  THE COLLECTOR OF FRA IS KILLED")
    assert "4 collectors, by nats://127.0.0.1:" in before
    assert len(re.findall(r"^  \w{3}   its collector, process \d+ ", before, re.MULTILINE)) == 4
    assert re.search(r"^  iad   from here +3 of 3 seen$", before, re.MULTILINE)
    assert re.search(r"^  fra   its collector, process \d+ +2 of 2 seen$", before, re.MULTILINE)
    assert "fra: no collector serves it" in after
    assert re.search(
        r"^  fra   from here, for its collector is gone +0 of 2 seen, auth 2$", after, re.MULTILINE
    )
    assert after.count(" seen, ") == before.count(" seen, ") + 1  # beside the one that refuses
    assert "its region's 2 servers are gaps, and no others" in " ".join(after.split())
    assert "`wgaudit demo --record night.json.gz` keeps one" in " ".join(after.split())
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert leftovers(tmp_path) == []
    assert left_running(tmp_path) == []


def test_ctrl_c_while_collectors_start_ends_them_too(tmp_path: Path) -> None:
    require_nats()
    with running(tmp_path, "demo", "--collectors", "--nodes", "15") as demo:
        assert demo.stdout is not None
        assert "15 servers" in demo.stdout.readline()
        demo.send_signal(signal.SIGINT)
        output, errors = demo.communicate(timeout=60)
    assert demo.returncode == 130, errors
    assert "WHO IS THERE" not in output
    assert "Traceback" not in errors
    assert leftovers(tmp_path) == []
    assert left_running(tmp_path) == []


def test_without_a_nats_server_it_is_one_line_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_nats, "SBIN", ())
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["demo", "--collectors"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert "needs nats-server, 2.9 or newer" in line
    assert "apt install nats-server" in line


def test_it_finds_the_server_where_debian_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is on the path of root alone."""
    program = tmp_path / "nats-server"
    program.touch(0o755)
    monkeypatch.setattr(demo_nats, "SBIN", (str(tmp_path),))
    assert nats_program("/nowhere") == str(program)


def test_each_side_may_do_what_the_document_permits() -> None:
    text = server_configuration("UAUDITOR", {"fra": "UFRA", "sin": "USIN"})
    blocks = re.findall(r"^[A-Z]+: \{\n.*?\n\}\n", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    assert all(block in documented("server") for block in blocks)
    users = re.findall(r"\{ nkey: .* \}", text)
    assert users == re.findall(r"\{ nkey: .* \}", documented("server"))


@pytest.mark.parametrize("options", [["--repair"], ["--watch"], ["--keep"], ["--format", "json"]])
def test_it_goes_with_no_option_of_another_demo(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--collectors", *options]) == 2
    assert "--collectors runs commands of its own" in capsys.readouterr().err
