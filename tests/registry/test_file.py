"""A registry in a `consul kv export` file: the same registrations as from the server, and honest gaps."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import ConfigError, GapReason
from auditor.registry import file as file_module
from auditor.registry.consul import ConsulRegistry
from auditor.registry.file import FileRegistry, export_text
from auditor.settings.consul import ConsulSettings
from auditor.values.models import Gap, OtherKind, RegistryReading
from tests.parts.consul import ConsulServer, consul_binary
from tests.registry.records_of import PREFIX, key_of, record


async def read(path: Path, **settings: object) -> RegistryReading:
    return await FileRegistry(path, ConsulSettings.model_validate(settings)).read()


async def only_gap(path: Path, **settings: object) -> Gap:
    reading = await read(path, **settings)
    assert (reading.registrations, reading.invalid) == ((), ())
    assert len(reading.gaps) == 1
    assert reading.gaps[0].source == "file"
    assert str(path) in reading.gaps[0].detail
    return reading.gaps[0]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export.json"
    path.write_text(export_text({PREFIX + "b": record("b", "10.0.0.2"), PREFIX + "a": record("a")}))
    return path


def add(export: Path, *entries: object) -> None:
    export.write_text(json.dumps([*json.loads(export.read_text()), *entries]))


def entries_of(export: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(export.read_text())
    return entries


def write(export: Path, text: str, encoding: str = "utf-8") -> None:
    export.write_bytes(text.encode(encoding))


async def test_an_export_is_a_registry_without_indexes(export: Path) -> None:
    reading = await read(export)
    assert [str(one.node) for one in reading.registrations] == ["a", "b"]
    assert [one.addresses for one in reading.registrations] == [("10.0.0.1/32",), ("10.0.0.2/32",)]
    assert {(one.create_index, one.modify_index) for one in reading.registrations} == {(None, None)}
    assert (reading.invalid, reading.gaps) == ((), ())


@pytest.mark.parametrize("flags", ["0", 0.0, None, "x", [], 1e400], ids=str)
async def test_odd_flags_cost_no_registration(export: Path, flags: object) -> None:
    first, second = entries_of(export)
    write(export, json.dumps([{**first, "flags": flags}, second]))
    reading = await read(export)
    assert (len(reading.registrations), reading.gaps) == (2, ())


async def test_a_lock_is_known_by_flags_that_a_tool_made_a_text(export: Path) -> None:
    add(export, {"key": f"{PREFIX}lock", "flags": "3304740253564472344", "value": ""})
    assert (await read(export)).others.counts == {OtherKind.LOCK: 1}


async def test_a_value_may_be_wrapped(export: Path) -> None:
    first, second = entries_of(export)
    write(
        export, json.dumps([{**first, "value": first["value"][:40] + "\r\n" + first["value"][40:]}, second])
    )
    assert len((await read(export)).registrations) == 2


async def test_a_prefix_without_a_registration_says_which_keys_it_holds(export: Path) -> None:
    assert (await only_gap(export, ignore=["*"])).detail.endswith("; 2 other keys: 2 ignored")


async def test_nodes_stand_in_the_datacenter_that_the_configuration_names(export: Path) -> None:
    assert {one.node.datacenter for one in (await read(export, datacenters=["dc1"])).registrations} == {"dc1"}
    for several in (["*"], ["dc1", "dc2"], []):
        reading = await read(export, datacenters=several)
        assert {one.node.datacenter for one in reading.registrations} == {""}


async def test_keys_outside_the_prefix_are_not_read(export: Path) -> None:
    add(export, {"key": "wireguard/nodes-old/x", "flags": 0, "value": "%%%"})
    reading = await read(export)
    assert (len(reading.registrations), reading.invalid) == (2, ())


async def test_one_key_a_field_is_read_from_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(
        export_text({PREFIX + "a/ip": b"10.0.0.1", PREFIX + "a/public_key": key_of("a").encode()})
    )
    reading = await read(path, layout="kv-fields")
    assert [one.public_key for one in reading.registrations] == [key_of("a")]


async def test_an_entry_that_is_off_does_not_hide_the_others(export: Path) -> None:
    add(export, {"key": PREFIX + "c", "flags": 0, "value": "%%%"}, {"key": PREFIX + "a", "value": "eA=="})
    reading = await read(export)
    assert len(reading.registrations) == 2
    assert [(one.node.name, one.reason) for one in reading.invalid] == [
        ("c", "the value is not base64"),
        ("a", "the key stands twice in the file"),
    ]


async def test_a_missing_file_is_a_gap(tmp_path: Path) -> None:
    gap = await only_gap(tmp_path / "nowhere.json")
    assert gap.reason is GapReason.REGISTRY_UNREADABLE
    assert "No such file" in gap.detail


@pytest.mark.parametrize(
    "text", ["", "hello", "{}", "[1]", '[{"value": ""}]', '[{"key": "a", "value": 5}]', "[" * 100_000, "\xff"]
)
async def test_a_file_that_is_no_export_is_a_gap(tmp_path: Path, text: str) -> None:
    path = tmp_path / "export.json"
    path.write_text(text, encoding="latin-1")
    assert (await only_gap(path)).reason is GapReason.REGISTRY_UNREADABLE


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (gzip.compress(b"state.bin", mtime=0), "consul snapshot save"),
        (b'[{"Node": "a", "Address": "198.18.0.1"}]', "the catalog's nodes"),
        (b'["wireguard/nodes/a"]', "?keys"),
        (record("a"), "a registration's value alone"),
        (b"wireguard/nodes/a:" + record("a"), "consul kv get -recurse"),
        (b'[{"key": "a", "value": ""}, {"key":', "cut off"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_file_of_something_else_is_named_for_what_it_is(
    tmp_path: Path, text: bytes, what: str
) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(text)
    gap = await only_gap(path)
    assert gap.reason is GapReason.REGISTRY_UNREADABLE
    assert what in gap.detail
    assert "consul kv export" in gap.detail


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
async def test_an_export_that_a_windows_shell_redirected_is_read(export: Path, encoding: str) -> None:
    plain = await read(export)
    write(export, json.dumps(entries_of(export)), encoding)
    assert await read(export) == plain


@pytest.mark.parametrize("between", ["\n", "\n\n  ", " "])
async def test_entries_one_after_the_other_are_an_export(export: Path, between: str) -> None:
    plain = await read(export)
    write(export, between.join(map(json.dumps, entries_of(export))) + "\n")
    assert await read(export) == plain


async def test_a_recursive_answer_of_the_api_is_an_export_with_indexes(export: Path) -> None:
    rows = [
        {
            "LockIndex": 0,
            "Key": row["key"],
            "Flags": 0,
            "Value": row["value"],
            "CreateIndex": 7,
            "ModifyIndex": 9,
        }
        for row in entries_of(export)
    ]
    held = {"Key": PREFIX + "leader", "Flags": 0, "Value": None, "Session": "5e1f", "LockIndex": 1}
    write(export, json.dumps([*rows, held]))
    reading = await read(export)
    assert [(one.node.name, one.create_index, one.modify_index) for one in reading.registrations] == [
        ("a", 7, 9),
        ("b", 7, 9),
    ]
    assert (reading.invalid, reading.others.counts) == ((), {OtherKind.SESSION: 1})


async def test_one_entry_alone_is_an_export(export: Path) -> None:
    write(export, json.dumps(entries_of(export)[0]))
    assert [one.node.name for one in (await read(export)).registrations] == ["a"]


async def test_an_entry_that_is_none_is_a_gap_beside_the_others(export: Path) -> None:
    add(export, {"value": ""})
    reading = await read(export)
    assert len(reading.registrations) == 2
    assert [gap.reason for gap in reading.gaps] == [GapReason.REGISTRY_UNREADABLE]


async def test_an_empty_list_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text("[]")
    assert (await only_gap(path)).reason is GapReason.REGISTRY_EMPTY


async def test_a_file_with_no_key_under_the_prefix_is_a_gap(export: Path) -> None:
    assert (await only_gap(export, prefix="other/")).reason is GapReason.PREFIX_NOT_FOUND


async def test_a_file_with_empty_folders_only_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(export_text({PREFIX: b"", PREFIX + "old/": b""}))
    assert (await only_gap(path)).reason is GapReason.REGISTRY_EMPTY


async def test_a_file_that_is_too_large_is_a_gap(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "MAX_FILE", 100)
    gap = await only_gap(export)
    assert gap.reason is GapReason.REGISTRY_UNREADABLE
    assert "larger" in gap.detail


def test_a_file_has_no_catalog() -> None:
    with pytest.raises(ConfigError, match="kv-json"):
        FileRegistry(Path("x"), ConsulSettings(layout="catalog"))


def test_an_export_is_written_in_consuls_own_form() -> None:
    assert json.loads(export_text({"a/b": b"\xff"})) == [
        {"key": "a/b", "flags": 0, "value": base64.b64encode(b"\xff").decode()}
    ]


def through_consul(server: ConsulServer, text: str) -> str:
    """What the real `consul kv export` writes after the real `consul kv import` has read this."""
    command, address = [str(consul_binary()), "kv"], f"-http-addr={server.url}"
    subprocess.run([*command, "import", address, "-"], input=text, text=True, check=True, capture_output=True)
    done = subprocess.run([*command, "export", address, PREFIX], text=True, check=True, capture_output=True)
    return done.stdout


@pytest.mark.xdist_group("consul")
async def test_what_we_write_consul_imports_and_what_it_exports_we_read(tmp_path: Path) -> None:
    """Both directions through the real command; server and file then give the same registrations."""
    written = export_text({PREFIX + "a": record("a"), PREFIX + "b": b"not json"})
    path = tmp_path / "export.json"
    with ConsulServer(tmp_path / "server") as server:
        exported = through_consul(server, written)
        live = await ConsulRegistry(ConsulSettings(url=server.url), None).read()
    assert json.loads(exported) == json.loads(written)
    path.write_text(exported)
    from_file = await read(path)
    assert [replace(one, create_index=None, modify_index=None) for one in live.registrations] == list(
        from_file.registrations
    )
    assert from_file.invalid == live.invalid
    assert len(live.registrations) == len(live.invalid) == 1
