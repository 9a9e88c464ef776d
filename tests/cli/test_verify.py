"""`wgaudit verify`: its lines, its document and its exit codes; the nodes answer over SSH, and at their addresses."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from jsonschema import Draft202012Validator

from auditor.demo.demo_fleet import REGISTRY_PREFIX, build_fleet
from auditor.demo.servers import ServedFleet
from auditor.registry.file import export_text
from auditor.reports.json.verify_v1 import VerifyV1
from auditor.values.addresses import format_prefix
from tests.cli.command import one_line, wgaudit
from tests.serving import served_by_thread

FLEET = build_fleet(4, incident=False)
NODE, OTHER = FLEET.nodes[0], FLEET.nodes[1]
ADDRESS = format_prefix(NODE.registered_address)


@pytest.fixture(scope="module")
def served() -> Iterator[ServedFleet]:
    with (
        tempfile.TemporaryDirectory(prefix="wgaudit-verify-") as folder,
        served_by_thread(FLEET, Path(folder), sessions=8) as fleet,
    ):
        yield fleet


class Desk:
    """A folder of a machine that verifies."""

    def __init__(self, folder: Path, served: ServedFleet) -> None:
        self.folder, self._records = folder, FLEET.records(served.ssh_hosts)
        (folder / "ssh_config").touch(mode=0o600)
        (folder / "wgaudit.toml").write_text(
            f'[consul]\nfile = "{folder}/registry.json"\nprefix = "{REGISTRY_PREFIX}"\n'
            f'[ssh]\nuser = "root"\nidentity_files = ["{served.client_key}"]\nagent = false\n'
            f'known_hosts = "{served.known_hosts}"\nconfig_file = "{folder}/ssh_config"\n'
            f'[state]\npath = "{folder}/wgaudit.db"\n[[witnesses]]\ntype = "nats"\n'
        )
        self.register()

    def register(self, **changes: object) -> None:
        """Writes the registry, with changes to the node's record."""
        key = f"{REGISTRY_PREFIX}{NODE.name}"
        record = json.loads(self._records[key]) | changes
        text = export_text({**self._records, key: json.dumps(record).encode()})
        (self.folder / "registry.json").write_text(text)

    def run(self, *words: str) -> CompletedProcess[str]:
        return wgaudit("verify", *words, folder=self.folder)


@pytest.fixture
def desk(served: ServedFleet, tmp_path: Path) -> Desk:
    return Desk(tmp_path, served)


def test_each_thing_is_one_line_with_how_many_showed_it(desk: Desk) -> None:
    done = desk.run(NODE.name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{NODE.name}  verified: device: its device holds {ADDRESS} and no other address",
        f"{NODE.name}  verified: routes: 3 of 3 observers give {ADDRESS} to {NODE.name}",
        f"{NODE.name}  verified: old addresses: 3 of 3 observers give {NODE.name} no other address",
        f"{NODE.name}  verified: answers: of 3 asked, 3 reached {NODE.name}",
    ]


def test_a_node_that_is_elsewhere_is_not_verified_and_ends_with_1(desk: Desk) -> None:
    desk.register(ip="10.99.0.1")
    done = desk.run(NODE.name)
    assert done.returncode == 1
    device, routes, old = done.stdout.splitlines()[:3]
    assert (
        f"NOT verified: device: its device holds {ADDRESS}, which is not registered and lacks 10.99.0.1"
        in device
    )
    assert "NOT verified: routes: 0 of 3 observers give 10.99.0.1" in routes
    assert f"gives it {ADDRESS}" in old


def test_an_observer_that_is_not_seen_is_a_gap_and_ends_with_3(desk: Desk) -> None:
    desk._records[f"{REGISTRY_PREFIX}{OTHER.name}"] = json.dumps(
        json.loads(desk._records[f"{REGISTRY_PREFIX}{OTHER.name}"]) | {"ssh_host": "127.0.0.1:1"}
    ).encode()
    desk.register()
    done = desk.run(NODE.name)
    assert done.returncode == 3
    assert f"{NODE.name}  can't tell: routes: 2 of 2 observers give" in done.stdout
    assert f"{NODE.name}  gap: 1 node not seen, connect-refused: {OTHER.name}" in done.stdout


def test_a_sample_is_said_to_be_one(desk: Desk) -> None:
    done = desk.run(NODE.name, "--sample", "1")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "1 of 3 observers were asked; --all asks every one"


def test_json_is_one_document_that_keeps_to_the_published_schema(desk: Desk) -> None:
    done = desk.run(NODE.name, OTHER.name, "--format", "json")
    document = json.loads(done.stdout)
    Draft202012Validator(json.loads(VerifyV1.schema_text())).validate(document)
    assert (done.returncode, document["outcome"], document["observers"]) == (0, "verified", 2)
    assert [item["node"] for item in document["nodes"]] == [NODE.name, OTHER.name]
    assert {item["subject"] for item in document["nodes"][0]["things"]} >= {"device", "routes", "answers"}


def test_a_node_that_is_not_registered_is_one_line_and_ends_with_2(desk: Desk) -> None:
    done = desk.run("no\x1b[31mbody")
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr) == "wgaudit: verify: no node is registered as no\\x1b[31mbody"


def test_a_registry_that_cannot_be_read_tells_nothing_and_ends_with_3(desk: Desk) -> None:
    (desk.folder / "registry.json").unlink()
    done = desk.run(NODE.name)
    assert done.returncode == 3
    assert "registry  can't tell: " in done.stdout
    assert f"{NODE.name}  can't tell: registration: it is not in what could be read" in done.stdout
