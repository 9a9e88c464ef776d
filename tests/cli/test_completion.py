"""Completion as real shells ask for it, and what may be proposed."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from auditor.state.known_names import names_of
from auditor.values.models import AuditPolicy, NodeId, Registration, Snapshot
from tests.cli.command import WGAUDIT, clean_environment, wgaudit

INCIDENT = Path(__file__).parents[2] / "fixtures" / "incident" / "snapshot.json.gz"


def in_bash(folder: Path, *words: str) -> list[str]:
    """Words that bash proposes in place of the last one, by the script that the command prints."""
    script = wgaudit("completion", "bash", folder=folder).stdout
    ask = (
        'eval "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _wgaudit_completion "$1"; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", ask, "bash", script, str(WGAUDIT), *words],
        cwd=folder,
        env=clean_environment(folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    assert in_bash(tmp_path, "sil") == ["silence"]
    assert in_bash(tmp_path, "sweep", "--rep") == ["--replay"]


def test_bash_completes_nodes_and_addresses_of_the_last_recording(tmp_path: Path) -> None:
    assert in_bash(tmp_path, "explain", "edge-si") == []
    wgaudit("sweep", "--replay", INCIDENT, folder=tmp_path)
    assert in_bash(tmp_path, "explain", "edge-sin-1") == ["edge-sin-1"]
    assert "10.0.0.1" in in_bash(tmp_path, "explain", "10.0.")
    assert in_bash(tmp_path, "explain", "duplicate-a") == ["duplicate-address"]
    assert in_bash(tmp_path, "explain", "consul-t") == ["consul-timeout", "consul-tls"]


def test_bash_completes_sweeps_of_the_history_for_diff_and_leaves_files_to_the_shell(tmp_path: Path) -> None:
    assert in_bash(tmp_path, "diff", "la") == ["last", "last-1"]
    asked = {"_WGAUDIT_COMPLETE": "bash_complete", "COMP_WORDS": "wgaudit diff tonight.js", "COMP_CWORD": "2"}
    assert wgaudit(folder=tmp_path, environment=asked).stdout == "file,tonight.js\n"


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_is_one_that_the_shell_can_read(tmp_path: Path, shell: str) -> None:
    script = wgaudit("completion", shell, folder=tmp_path).stdout
    done = subprocess.run(
        [shell, "-n"], input=script, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_name_is_proposed_that_a_shell_would_read_more_into() -> None:
    """Names come from Consul; what is completed stands on the command line of somebody on call."""
    hostile = ["a$(reboot)", "b`id`", "c d", "-rf", "e;f", "g\nh", "i'j", "k\x1b[2J", "*", "l" * 300, ""]
    registrations = [
        Registration(NodeId("dc1", name), None, (), region=name) for name in (*hostile, "edge-1")
    ]
    now = datetime.now(UTC)
    known = names_of(Snapshot(now, now, AuditPolicy(), tuple(registrations)))
    assert (known.nodes, known.regions) == (("edge-1",), ("edge-1",))
