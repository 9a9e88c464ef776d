"""`wgaudit check` as a pipeline calls it: one line a record, an exit code, and nothing that hostile input could do."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest

from auditor.admission.objections import AdmissionVerdict
from auditor.errors import UsageError
from auditor.repair import check
from auditor.repair.claims.claim import claim_bytes, claim_key
from auditor.reports.json.check_v1 import CheckV1
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix
from tests.cli.command import one_line, wgaudit
from tests.parts.consul import ConsulServer
from tests.registry.records_of import PREFIX, key_of, record
from tests.repair.registry import CLAIMS
from tests.test_docs import ROOT

INCIDENT = ROOT / "fixtures" / "incident" / "snapshot.json.gz"


def entry(node: str, ip: object, **more: object) -> dict[str, object]:
    value = base64.b64encode(record(node, ip, **more)).decode()
    return {"key": PREFIX + node, "flags": 0, "value": value}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a registry in a file, and records in others."""
    (tmp_path / "registry.json").write_text(
        json.dumps([entry("edge-1", "10.0.0.5"), entry("edge-2", "10.0.0.6")])
    )
    (tmp_path / "wgaudit.toml").write_text(
        '[consul]\nfile = "registry.json"\n[watch]\nlisten = "127.0.0.1:9"\n'
    )
    (tmp_path / "new.json").write_bytes(record("edge-3", "10.0.0.9"))
    (tmp_path / "taken.json").write_bytes(record("edge-3", "10.0.0.5"))
    return tmp_path


def answered(
    home: Path, *words: str | Path, text: str = ""
) -> tuple[int, str, subprocess.CompletedProcess[str]]:
    done = wgaudit("check", *words, folder=home, text=text)
    return done.returncode, done.stdout, done


# Answers


def test_a_record_that_may_be_written_is_yes_and_exit_code_0(home: Path) -> None:
    assert answered(home, "new.json", "--node", "edge-3")[:2] == (0, "edge-3  yes\n")
    assert answered(home, "new.json", "--key", PREFIX + "edge-3")[:2] == (0, "edge-3  yes\n")
    text = (home / "new.json").read_text()
    assert answered(home, "-", "--node", "edge-3", text=text)[:2] == (0, "edge-3  yes\n")


def test_a_record_that_may_not_is_no_with_the_reasons_in_one_line_and_exit_code_1(home: Path) -> None:
    code, line, done = answered(home, "taken.json", "--node", "edge-3")
    assert (code, done.stderr) == (1, "")
    assert (
        line == "edge-3  no: address-registered: 10.0.0.5 is registered for edge-1 (wireguard/nodes/edge-1)\n"
    )


def test_what_cannot_be_told_is_exit_code_3(home: Path) -> None:
    (home / "registry.json").unlink()
    code, line, _ = answered(home, "new.json", "--node", "edge-3")
    assert (code, line.split(":")[0]) == (3, "edge-3  can't tell")
    assert "registry (registry-unreadable)" in line


def test_several_records_are_judged_each_by_itself_and_against_each_other(home: Path) -> None:
    (home / "several.json").write_text(
        json.dumps([entry("a", "10.0.0.8"), entry("b", "10.0.0.9"), entry("c", "10.0.0.9")])
    )
    code, lines, _ = answered(home, "several.json")
    assert code == 1
    assert [line.split(":")[0] for line in lines.splitlines()] == ["a  yes", "b  no", "c  no"]
    (home / "more.json").write_text(json.dumps(entry("d", "10.0.0.8")))
    code, lines, _ = answered(home, "several.json", "more.json", "--format", "json")
    assert [item["verdict"] for item in json.loads(lines)["records"]] == ["refused"] * 4


def test_the_registrys_own_file_is_judged_as_it_would_stand(home: Path) -> None:
    """As a hook before a commit does, where the registry is kept in a repository."""
    assert answered(home, "registry.json")[0] == 0
    (home / "registry.json").write_text(
        json.dumps([entry("edge-1", "10.0.0.1"), entry("edge-2", "10.0.0.6")])
    )
    code, lines, _ = answered(home, "registry.json")
    assert (code, lines.splitlines()[0].split(":")[:2]) == (1, ["edge-1  no", " first-address"])
    assert answered(home, "registry.json", "--allow", "first-address")[0] == 0


def test_the_document_follows_its_schema(home: Path) -> None:
    code, text, _ = answered(home, "taken.json", "--node", "edge-3", "--format", "json")
    document = json.loads(text)
    jsonschema.validate(document, json.loads(CheckV1.schema_text()))
    (found,) = document["records"][0]["objections"]
    assert (code, document["verdict"]) == (1, "refused")
    assert (found["ident"], found["address"], found["nodes"], found["finding"]) == (
        "address-registered",
        "10.0.0.5/32",
        ["edge-1"],
        "duplicate-address",
    )


def test_what_a_recording_saw_live_counts(home: Path) -> None:
    (home / "ghost.json").write_bytes(record("edge-3", "10.0.0.1"))
    code, line, _ = answered(home, "ghost.json", "--node", "edge-3", "--replay", INCIDENT)
    assert code == 1
    assert "address-live: 10.0.0.1 is on the device of " in line


def test_a_watch_that_does_not_run_can_tell_nothing(home: Path) -> None:
    code, line, _ = answered(home, "new.json", "--node", "edge-3", "--live")
    assert code == 3
    assert (
        "can't tell: live (watch-unreachable): 127.0.0.1:9: Connection refused; does a watch run here?"
        in line
    )


# Words that cannot be used


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing.json"], "missing.json: cannot read: No such file"),
        (["."], "cannot read: "),
        (["new.json"], "say whose record it is with --node"),
        (["new.json", "taken.json", "--node", "a"], "--node and --key name one record"),
        (["new.json", "--node", "a", "--key", "b"], "both name the record"),
        (["new.json", "--key", "elsewhere/a"], "is no key under wireguard/nodes/"),
        (["new.json", "--node", "a", "--replay", "x", "--live"], "both say what is live"),
        (["new.json", "--node", "a", "--replay", "x.json.gz"], "x.json.gz"),
        (
            ["new.json", "--node", "a", "--allow", "swordfish"],
            "'swordfish' is no objection; known: unreadable",
        ),
        (["new.json", "--node", ".lock"], "no registration under wireguard/nodes/, 1 other key"),
    ],
)
def test_words_that_cannot_be_used_are_one_line_and_exit_code_2(
    home: Path, words: list[str], says: str
) -> None:
    code, text, done = answered(home, *words)
    assert (code, text) == (2, "")
    assert says in one_line(done.stderr)


# Hostile input

HOSTILE = {
    "deep": b"[" * 200_000,
    "deep record": b'{"ip": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "not UTF-8": b'{"ip": "\xff\xfe"}',
    "bytes": bytes(range(256)),
    "empty": b"",
    "gzip": b"\x1f\x8b\x08\x00",
    "escapes": b'{"ip": "10.0.0.9\\u001b[31m\\u202e", "public_key": "\\ud800"}',
    "a name twice": b'{"ip": "10.0.0.8", "ip": "10.0.0.9"}',
    "a long number": b'{"ip": ' + b"9" * 100_000 + b"}",
    "dense": b"[" + b"1," * 400_000 + b"1]",
    "a text": b'"' + b"x" * 600_000 + b'"',
    "keys that are none": b'[{"key": 7, "value": "e30="}]',
    "no base64": b'[{"key": "wireguard/nodes/\\u001b[31mx", "value": "?"}]',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_one_clear_line_and_never_a_yes(home: Path, name: str) -> None:
    (home / "wgaudit.toml").write_text(f'[consul]\nfile = "{home}/registry.json"\n')
    for node in ("", "edge-3", "\x1b[31mx\u202e"):
        try:
            checked = check(HOSTILE[name], node, config=home / "wgaudit.toml")
        except UsageError as error:
            (said,) = error.lines
        else:
            assert checked.verdict is AdmissionVerdict.REFUSED
            (said,) = checked.lines
            assert said.isprintable()
        assert len(said) < 2_000


@pytest.mark.parametrize(("name", "node", "expected"), [("deep", "", 2), ("escapes", "\x1b[31mx", 1)])
def test_hostile_input_is_the_same_on_the_command_line(
    home: Path, name: str, node: str, expected: int
) -> None:
    (home / "hostile.json").write_bytes(HOSTILE[name])
    code, text, done = answered(home, "hostile.json", *(["--node", node] if node else []))
    assert code == expected
    assert one_line(text or done.stderr).isprintable()


def test_a_record_that_is_larger_than_consul_takes_is_refused(home: Path) -> None:
    (home / "large.json").write_bytes(b" " * (512 * 1024) + record("a", "10.0.0.9"))
    code, line, _ = answered(home, "large.json", "--node", "a")
    assert code == 1
    assert "more than 524288" in line


def test_a_file_larger_than_any_registry_is_not_read(home: Path) -> None:
    with (home / "huge.json").open("wb") as stream:
        stream.truncate(65 * 1024 * 1024)
    code, _, done = answered(home, "huge.json", "--node", "a")
    assert code == 2
    assert "larger than 67108864 bytes" in one_line(done.stderr)


def test_a_thousand_records_of_one_node_are_named_once_each_time_twice(home: Path) -> None:
    (home / "many.json").write_text(json.dumps([entry("a", "10.0.0.9")] * 1000))
    code, lines, _ = answered(home, "many.json")
    assert (code, len(lines.splitlines())) == (1, 2)
    assert "node-twice: the input has 2 records of a; write one" in lines


# From Python


def test_the_same_from_python(home: Path) -> None:
    config = home / "wgaudit.toml"
    (home / "wgaudit.toml").write_text(f'[consul]\nfile = "{home}/registry.json"\n')
    taken = check({"public_key": key_of("a"), "ip": "10.0.0.5"}, "a", config=config)
    assert not taken.admitted
    assert taken.lines == (
        "a  no: address-registered: 10.0.0.5 is registered for edge-1 (wireguard/nodes/edge-1)",
    )
    free = check(record("a", "10.0.0.9"), "a", config=config)
    assert free.admitted
    (home / "registry.json").unlink()
    assert check(record("a", "10.0.0.9"), "a", config=config).verdict is AdmissionVerdict.UNKNOWN
    with pytest.raises(UsageError, match="nothing that JSON can hold"):
        check({"ip": {1, 2}}, "a", config=config)


# Consul


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(tmp_path_factory.mktemp("consul")) as running:
        yield running


@pytest.mark.xdist_group("consul")
def test_against_a_real_consul_registrations_and_claims_count(server: ConsulServer, home: Path) -> None:
    (home / "wgaudit.toml").write_text(f'[consul]\nurl = "{server.url}"\n')
    now = datetime.now(UTC)
    kept = AddressClaim(
        Prefix("10.0.0.9/32"), ClaimState.RELEASED, "gone", None, now, now + timedelta(days=9), "release"
    )
    server.put(PREFIX + "edge-1", record("edge-1", "10.0.0.5"))
    server.put(claim_key(CLAIMS, kept.prefix), claim_bytes(kept))
    server.put(CLAIMS + "10.0.0.10", b"no claim")
    before = server.request("GET", "/v1/kv/?recurse").body
    for address, says in (
        ("10.0.0.5", "no: address-registered"),
        ("10.0.0.9", "no: address-claimed: 10.0.0.9 was released by gone, and is in quarantine until"),
        ("10.0.0.10", "no: address-claimed: 10.0.0.10 has a claim that cannot be read"),
        ("10.0.0.11", "yes"),
    ):
        (home / "new.json").write_bytes(record("edge-3", address))
        assert answered(home, "new.json", "--node", "edge-3")[1].startswith(f"edge-3  {says}"), address
    many = [entry(f"n{number}", f"10.0.0.{number}") for number in range(5, 60)]
    (home / "many.json").write_text(json.dumps(many))
    lines = answered(home, "many.json")[1].splitlines()
    assert [line.split("  ")[0] for line in lines if "  no" in line] == ["n5", "n9", "n10"]
    assert server.request("GET", "/v1/kv/?recurse").body == before
    server.delete("", recurse=True)


@pytest.mark.xdist_group("consul")
def test_a_consul_that_is_not_there_is_no_yes(home: Path) -> None:
    (home / "wgaudit.toml").write_text('[consul]\nurl = "http://127.0.0.1:9"\ntimeout = 1.0\n')
    code, line, _ = answered(home, "new.json", "--node", "edge-3")
    assert code == 3
    assert "can't tell: registry (consul-unreachable)" in line
    assert "claims (claims-unread)" in line
