"""`wgaudit plan` as a person calls it: what it prints, what it writes, and how it exits."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.repair.moves import CarriedService
from auditor.repair.plan.plan_v1 import document, from_json
from auditor.repair.plan_file import read_plan
from auditor.reports.interface import Layout
from auditor.reports.terminal.plan_page import render_plan
from auditor.service.claims_of_fleet import with_services
from auditor.settings.file import Config, parse_toml
from auditor.state.recording import record, replay
from auditor.values.models import NodeId
from tests.cli.command import one_line, wgaudit
from tests.cli.fleet import NOBODY
from tests.fleets import Mesh, key_of
from tests.parts.consul import ConsulServer
from tests.repair.plans import PAIR, pair, planned


def recorded(folder: Path, mesh: Mesh) -> Path:
    """The mesh as a recording."""
    path = folder / "night.json.gz"
    record(mesh.snapshot(), path)
    return path


def test_a_recording_gives_a_plan_and_exit_code_0(tmp_path: Path) -> None:
    done = wgaudit("plan", "--replay", recorded(tmp_path, pair()), folder=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("PLAN ")
    assert "oldest-registration: lowest CreateIndex: 10, against new 20" in done.stdout
    assert "1 move; contested addresses left out in whole or part: 0" in one_line(done.stderr)


@pytest.mark.parametrize(
    ("mesh", "code"),
    [
        (Mesh().node("a", "10.7.0.1"), 0),
        (pair().not_seen("new"), 1),
        (Mesh().node("a", PAIR).node("b", PAIR), 1),
        (Mesh().node("a", "10.7.0.1").not_seen("a"), 3),
    ],
    ids=["nothing to do", "left out in part", "left out whole", "inconclusive"],
)
def test_the_exit_code_says_whether_the_plan_is_whole(tmp_path: Path, mesh: Mesh, code: int) -> None:
    assert wgaudit("plan", "--replay", recorded(tmp_path, mesh), folder=tmp_path).returncode == code


def test_output_is_a_plan_that_can_be_read_again_by_its_owner_only(tmp_path: Path) -> None:
    recording = recorded(tmp_path, pair())
    done = wgaudit("plan", "--replay", recording, "--output", "plan.json", folder=tmp_path)
    assert done.returncode == 0
    assert "wgaudit apply plan.json" in done.stdout
    assert stat.S_IMODE((tmp_path / "plan.json").stat().st_mode) == 0o600
    assert len(read_plan(tmp_path / "plan.json").moves) == 1
    printed = wgaudit("plan", "--replay", recording, "--format", "json", folder=tmp_path).stdout
    assert json.loads(printed) == json.loads((tmp_path / "plan.json").read_text())


def test_a_script_goes_where_it_is_asked_for(tmp_path: Path) -> None:
    recording = recorded(tmp_path, pair())
    done = wgaudit(
        "plan", "--replay", recording, "--format", "shell", "--output", "by-hand.sh", folder=tmp_path
    )
    assert done.returncode == 0
    assert (tmp_path / "by-hand.sh").read_text().startswith("#!/bin/sh\n")
    assert not done.stdout


def test_keep_and_address_choose(tmp_path: Path) -> None:
    recording = recorded(tmp_path, pair().node("y", "10.7.0.3", index=6).node("z", "10.7.0.3", index=5))
    done = wgaudit("plan", "--replay", recording, "--address", PAIR, "--keep", "new", folder=tmp_path)
    assert "keeps   new" in done.stdout
    assert "10.7.0.3 →" not in done.stdout
    assert "10.7.0.3 (3 more follow): not asked for" in done.stdout


def test_a_chosen_address_stands_in_the_plan_and_in_the_command_that_comes_next(tmp_path: Path) -> None:
    done = wgaudit(
        *("plan", "--replay", recorded(tmp_path, pair()), "--to", "new=10.7.0.50", "-v"), folder=tmp_path
    )
    assert "10.7.0.9 → 10.7.0.50" in done.stdout
    assert "chosen by --to" in " ".join(done.stdout.split())
    assert "--to new=10.7.0.50 --output plan.json" in done.stdout
    assert "STEP BY STEP" in done.stdout


def test_the_configuration_decides_who_keeps_the_fallback(tmp_path: Path) -> None:
    (tmp_path / "wgaudit.toml").write_text('[repair]\nfallback_keeper = "nobody"\n')
    mesh = Mesh().node("a", "10.0.0.1", index=1).node("b", "10.0.0.1", index=2)
    done = wgaudit("plan", "--replay", recorded(tmp_path, mesh), folder=tmp_path)
    assert "keeps   nobody" in done.stdout
    assert "2 moves" in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--address", "10.7.0.9/8"], "--address: host bits"),
        (["--keep", "nosuch"], "--keep: no registered node is called 'nosuch'"),
        (["--output", "nowhere/plan.json"], "--output: there is no folder nowhere"),
        (["--to", "new"], "--to new: write it as NODE=ADDRESS"),
        (["--to", "new=10.7.0.9/8"], "--to new=10.7.0.9/8: host bits"),
        (["--to", "nosuch=10.7.0.50"], "--to: no registered node is called 'nosuch'"),
        (["--to", "old=10.7.0.50"], "--to old=10.7.0.50: it keeps 10.7.0.9"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    tmp_path: Path, options: list[str], says: str
) -> None:
    done = wgaudit("plan", "--replay", recorded(tmp_path, pair()), *options, folder=tmp_path)
    assert done.returncode == 2
    assert says in one_line(done.stderr)


@pytest.fixture(scope="module")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """A Consul that demands tokens, with a pair whose nodes refuse, one claim, and a service on one of them."""
    with ConsulServer(tmp_path_factory.mktemp("consul"), acl=True) as server:
        for name in ("old", "new"):
            registration = {"public_key": key_of(name), "ip": PAIR, "ssh_host": NOBODY}
            server.put(f"wireguard/nodes/{name}", json.dumps(registration).encode())
        held = {"state": "held", "node": "x", "public_key": None, "at": "2026-03-01T03:00:00Z", "until": None}
        server.put("wireguard/claims/10.7.0.50", json.dumps({**held, "by": "test"}).encode())
        server.put("wireguard/claims/10.7.0.51", b"oops")
        server.put("wireguard/claims/adopted", b"{}")
        service = {"Node": "old", "Address": "127.0.0.1", "Service": {"Service": "shop"}}
        answer = server.request("PUT", "/v1/catalog/register", json.dumps(service).encode())
        assert answer.status == 200
        yield server


def live(folder: Path, consul: ConsulServer, token: str) -> tuple[int, str, Path]:
    """A plan for that Consul: exit code, stdout on one line, and its recording."""
    (folder / "wgaudit.toml").write_text(
        f'[consul]\nurl = "{consul.url}"\n[sweep]\nconfirm_after = 0.0\n'
        '[repair]\nworkload_service = "shop"\n[ssh]\nknown_hosts = "known_hosts"\n'
    )
    (folder / "known_hosts").touch()
    done = wgaudit(
        *("plan", "--no-progress", "--record", "night.json.gz"),
        folder=folder,
        environment={"CONSUL_HTTP_TOKEN": token},
    )
    return done.returncode, " ".join(done.stdout.split()) + done.stderr, folder / "night.json.gz"


def test_a_live_plan_reads_claims_and_workload_and_records_them(tmp_path: Path, consul: ConsulServer) -> None:
    code, text, recording = live(tmp_path, consul, consul.token)
    assert code == 1, text  # nobody answers, so nobody moves
    assert "carries-workload: it carries workload, the others do not; it was not seen" in text
    assert "The claim wireguard/claims/10.7.0.51 cannot be read: not JSON." in text
    snapshot = replay(recording)
    assert snapshot.workloads == frozenset({NodeId("", "old")})
    assert [claim.prefix for claim in snapshot.address_claims or ()] == ["10.7.0.50/32", "10.7.0.51/32"]


def test_what_the_token_may_not_read_is_told_and_never_taken_for_nothing_there(
    tmp_path: Path, consul: ConsulServer
) -> None:
    token = consul.create_token('key_prefix "wireguard/nodes/" { policy = "read" }')
    _, text, recording = live(tmp_path, consul, token)
    assert "Reading address claims failed: " in text
    assert "No node has the service shop" in text or "Reading who carries workload failed: " in text
    assert "carries-workload" not in text
    snapshot = replay(recording)
    assert snapshot.address_claims is None
    assert token not in text


def of_consul(consul: ConsulServer, token: str) -> Config:
    return parse_toml(f'[consul]\nurl = "{consul.url}"\ntoken = "{token}"', "test")


async def test_a_plan_says_what_each_mover_carries_by_consul_s_catalog(consul: ConsulServer) -> None:
    for ident in ("nats-1", "nats-2", "web"):
        service = {"ID": ident, "Service": ident.partition("-")[0]}
        entry = {"Node": "new", "Address": "127.0.0.2", "Service": service}
        consul.request("PUT", "/v1/catalog/register", json.dumps(entry).encode())
    made = await with_services(planned(pair()), of_consul(consul, consul.token))
    (move,) = made.moves
    assert made.carried == {move.node: (CarriedService("nats", 2), CarriedService("web", 1))}
    assert "services: nats (2) and web" in " ".join(render_plan(made, Layout(width=120)).split())
    assert json.loads(document(made))["contested"][0]["moves"][0]["services"][0] == {
        "name": "nats",
        "instances": 2,
    }
    assert from_json(document(made).encode(), "test") == made


async def test_what_movers_carry_is_a_note_where_it_cannot_be_read_and_never_nothing(
    consul: ConsulServer,
) -> None:
    made = await with_services(planned(pair()), of_consul(consul, "wrong"))
    assert made.carried == {}
    (note,) = [note for note in made.notes if note.startswith("Reading what the movers carry failed: ")]
    assert "wrong" not in note


def test_a_recording_of_a_plan_gives_the_same_plan(tmp_path: Path, consul: ConsulServer) -> None:
    live(tmp_path, consul, consul.token)
    again = replay(tmp_path / "night.json.gz")
    assert replace(again, workloads=None) != again
    done = wgaudit("plan", "--replay", "night.json.gz", folder=tmp_path)
    assert "carries-workload" in done.stdout
