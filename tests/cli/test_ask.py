"""`wgaudit ask`: its page, its document and its exit codes; the nodes answer over SSH."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from jsonschema import Draft202012Validator

from auditor.demo.demo_fleet import REGISTRY_PREFIX
from auditor.demo.servers import ServedFleet
from auditor.registry.file import export_text
from auditor.reports.json.ask_v1 import AskV1
from tests.cli.command import one_line, started, wgaudit
from tests.fleets import key_of
from tests.service.asking import FRA, NOBODYS, NRT, Desk, answering_fleet


@pytest.fixture(scope="module")
def served() -> Iterator[ServedFleet]:
    with answering_fleet() as fleet:
        yield fleet


@pytest.fixture
def desk(served: ServedFleet, tmp_path: Path) -> Desk:
    return Desk(tmp_path, served)


def run(desk: Desk, *words: str) -> CompletedProcess[str]:
    return wgaudit("ask", *words, "--no-progress", folder=desk.folder)


def test_the_page_has_the_sum_and_a_row_for_each_observer_with_its_time(desk: Desk) -> None:
    done = run(desk, FRA, "--from", "edge-ams-1", "--from", "nrt")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"AS REGISTERED  {FRA} · all who answered")
    assert "  registered for edge-fra-1 (fra)" in lines
    assert "  NATS: of 2 asked, 2 reached edge-fra-1" in lines
    row, _ = [line.split() for line in lines if line.startswith("    edge-") and "says" in line]
    assert row[:5] == ["edge-ams-1", "ams", "edge-fra-1", "says", "fra"]
    assert row[-1] in ("ms", "s")
    assert done.stderr == ""


def test_somebody_else_ends_with_1_and_leads_to_the_story(desk: Desk) -> None:
    desk.register(edge_fra_1=NRT, edge_nrt_1=FRA)
    done = run(desk, FRA, "--from", "ams")
    assert done.returncode == 1
    assert done.stdout.startswith(f"SOMEBODY ELSE  {FRA} · a node answers that is not registered for it")
    assert f"wgaudit explain {FRA}" in done.stdout


def test_no_answer_ends_with_3_and_says_what_to_do(desk: Desk) -> None:
    done = run(desk, NOBODYS, "--from", "ams")
    assert done.returncode == 3
    assert "nobody answered, which does not mean that nobody is there" in done.stdout
    assert "NATS: of 1 asked, 1 timed out" in done.stdout
    assert "no-answer  edge-ams-1" in done.stdout
    assert "do        timed out: look whether that server runs" in done.stdout


def test_json_is_one_document_that_keeps_to_the_published_schema(desk: Desk) -> None:
    done = run(desk, FRA, "--format", "json")
    document = json.loads(done.stdout)
    Draft202012Validator(json.loads(AskV1.schema_text())).validate(document)
    assert (done.returncode, document["outcome"]) == (0, "registered")
    assert document["addresses"][0]["reached"][0]["everyone"] == ["edge-ams-1", "edge-nrt-1", "edge-sin-1"]


def test_bad_input_is_one_line_and_ends_with_2(desk: Desk) -> None:
    done = run(desk, FRA, "--from", "\x1b[31m")
    assert (done.returncode, done.stdout) == (2, "")
    assert "\\x1b[31m is neither a registered node" in one_line(done.stderr)


def test_ctrl_c_keeps_what_came_until_then(desk: Desk) -> None:
    """One observer's sshd says nothing, not even its version."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        records = json.loads((desk.folder / "registry.json").read_text())
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        value = {"public_key": key_of("db-sin-1"), "ip": "10.16.0.7", "region": "sin", "ssh_host": host}
        added = {f"{REGISTRY_PREFIX}db-sin-1": json.dumps(value).encode()}
        (desk.folder / "registry.json").write_text(json.dumps(records + json.loads(export_text(added))))
        with started("ask", FRA, "--from", "db-sin-1", folder=desk.folder) as process:
            silent.settimeout(20)
            with silent.accept()[0]:
                process.send_signal(signal.SIGINT)
                page, said = process.communicate(timeout=20)
    assert process.returncode == 3
    assert "cut-short  db-sin-1" in page
    assert "The asking was cut short (interrupted)" in page
    assert said.splitlines() == ["wgaudit: asking 1 question from 1 node"]
