"""`wgaudit restore`: a lost registration comes back by check-and-set, and never over somebody else."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.state.recording import replay
from tests.cli.command import one_line, wgaudit
from tests.parts.consul import ConsulServer, consul_binary
from tests.registry.records_of import PREFIX, key_of
from tests.repair.registry import CLAIMS

pytestmark = pytest.mark.xdist_group("consul")
NOBODY = "127.0.0.1:1"
"""Refuses at once."""
LOST = "edge-sin-10"


def record(node: str, ip: str, **more: str) -> bytes:
    return json.dumps(
        {"public_key": key_of(node), "ip": ip, "region": "sin", "ssh_host": NOBODY, **more}
    ).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(tmp_path_factory.mktemp("restore")) as running:
        yield running


class Desk:
    """A folder of a machine that sweeps; one of its ten nodes was just deleted by prefix, and a sweep had read it."""

    def __init__(self, folder: Path, server: ConsulServer) -> None:
        self.folder, self.server = folder, server
        for name in ("known_hosts", "ssh_config"):
            (folder / name).touch(mode=0o600)
        (folder / "wgaudit.toml").write_text(
            f'[consul]\nurl = "{server.url}"\n[ssh]\nagent = false\nconfig_file = "{folder}/ssh_config"\n'
            f'known_hosts = "{folder}/known_hosts"\n[state]\npath = "{folder}/state/wgaudit.db"\n'
            '[sweep]\nconfirm_after = 0.0\n[regions.pools]\nsin = "10.16.0.0/24"\n'
        )
        for number in range(2, 12):
            server.put(f"{PREFIX}edge-sin-{number}", record(f"edge-sin-{number}", f"10.16.0.{number}"))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return wgaudit(*arguments, folder=self.folder)

    def lose(self) -> None:
        """An alerted sweep reads it, and a script deletes it."""
        self.run("sweep", "--alert", "--no-progress")
        self.server.delete(PREFIX + LOST)

    def stored(self, key: str = PREFIX + LOST) -> dict[str, object] | None:
        answer = self.server.request("GET", f"/v1/kv/{key}")
        if answer.status == 404:
            return None
        found = json.loads(base64.b64decode(json.loads(answer.body)[0]["Value"]))
        assert isinstance(found, dict)
        return found

    def refused(self) -> str:
        """What a refused restore says; it wrote nothing."""
        before = self.stored()
        done = self.run("restore", LOST, "--no-progress")
        assert (done.returncode, done.stdout) == (1, "")
        assert self.stored() == before
        return one_line(done.stderr)


@pytest.fixture
def desk(server: ConsulServer, tmp_path: Path) -> Iterator[Desk]:
    yield Desk(tmp_path, server)
    server.delete("wireguard/", recurse=True)


def test_a_deleted_registration_is_written_again_as_it_was_read(desk: Desk) -> None:
    desk.lose()
    tried = desk.run("restore", LOST, "--dry-run")
    assert (tried.returncode, desk.stored()) == (0, None)
    assert "would be written" in tried.stdout
    done = desk.run("restore", LOST, "--no-progress")
    assert done.returncode == 0
    assert "were not seen" in one_line(done.stderr), "nobody answers here, and that is said"
    assert desk.stored() == json.loads(record(LOST, "10.16.0.10"))
    assert desk.stored(f"{CLAIMS}10.16.0.10") is None, "claims are not begun by the way"
    assert "is registered, with 10.16.0.10; nothing was written" in desk.refused()


def test_the_claim_of_an_adopted_registry_comes_back_with_it(desk: Desk) -> None:
    assert desk.run("adopt").returncode == 0
    desk.lose()
    desk.server.delete(f"{CLAIMS}10.16.0.10")
    assert desk.run("restore", LOST).returncode == 0
    claim = desk.stored(f"{CLAIMS}10.16.0.10")
    assert claim is not None
    assert (claim["state"], claim["node"], claim["by"]) == ("held", LOST, "restore")
    assert desk.run("adopt", "--check").returncode == 0


def test_what_was_released_on_purpose_can_be_taken_back(desk: Desk) -> None:
    desk.run("adopt")
    desk.run("sweep", "--alert", "--no-progress")
    assert desk.run("release", "--node", LOST).returncode == 0
    desk.run("sweep", "--no-progress", "--record", "after.json.gz")
    (lost,) = replay(desk.folder / "after.json.gz").memory.lost
    assert (lost.registration.node.name, lost.released) == (LOST, True)
    assert desk.run("restore", LOST).returncode == 0
    assert desk.run("adopt", "--check").returncode == 0


def test_an_address_that_was_given_to_another_node_is_refused(desk: Desk) -> None:
    desk.lose()
    desk.server.put(f"{PREFIX}edge-sin-99", record("edge-sin-99", "10.16.0.10"))
    assert "10.16.0.10 is registered for edge-sin-99" in desk.refused()


def test_an_address_that_is_claimed_for_another_node_is_refused(desk: Desk) -> None:
    desk.lose()
    desk.server.put(
        f"{CLAIMS}10.16.0.10",
        json.dumps({"state": "reserved", "node": "edge-sin-99", "at": "2026-01-01T00:00:00Z"}).encode(),
    )
    assert "10.16.0.10 is reserved by its claim, of edge-sin-99" in desk.refused()


def test_a_key_that_is_registered_under_another_name_is_refused(desk: Desk) -> None:
    desk.lose()
    desk.server.put(f"{PREFIX}renamed", record(LOST, "10.16.0.77"))
    assert "its key is registered for renamed" in desk.refused()


def test_a_node_of_which_nothing_is_remembered_is_a_usage_error(desk: Desk) -> None:
    done = desk.run("restore", "web-1", "--no-progress")
    assert done.returncode == 2
    assert "no registration of web-1 is remembered" in one_line(done.stderr)


def test_a_registry_that_cannot_be_read_is_refused(desk: Desk) -> None:
    desk.lose()
    config = desk.folder / "wgaudit.toml"
    config.write_text(config.read_text().replace(desk.server.url, "http://127.0.0.1:1"))
    done = desk.run("restore", LOST, "--no-progress")
    assert done.returncode == 1
    assert "the registry was not read whole" in one_line(done.stderr)


def test_the_command_of_consuls_own_program_writes_the_same_and_never_over_a_key(desk: Desk) -> None:
    """As the report spells it. Consul's program before 1.9 takes no index of 0: then it writes nothing."""
    desk.lose()
    text = desk.run("restore", LOST, "--dry-run", "--no-progress").stdout.partition("written: ")[2].strip()
    words = ("kv", "put", "-cas", "-modify-index=0", PREFIX + LOST, text)
    call = ["sh", "-c", f"{consul_binary()} {shlex.join(words)}"]
    environment = {"CONSUL_HTTP_ADDR": desk.server.url}
    first, second = (
        subprocess.run(call, env=environment, check=False, capture_output=True, text=True, timeout=30)
        for _ in range(2)
    )
    assert second.returncode != 0
    if "Must specify -modify-index" in first.stderr:
        assert desk.stored() is None
    else:
        assert (first.returncode, desk.stored()) == (0, json.loads(record(LOST, "10.16.0.10")))
