"""Registries with one odd thing in them: what stands beside it is still said, and nothing that is not so."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.checks.idents import Ident
from auditor.judge import judge
from auditor.registry.file import FileRegistry, export_text
from auditor.registry.records import KvItem, read_kv
from auditor.reports.interface import Layout
from auditor.reports.terminal import table
from auditor.settings.consul import ConsulFields, ConsulSettings
from auditor.values.models import AuditPolicy, RegistryReading, Snapshot
from auditor.values.report import Report, Verdict
from tests.fleets import FINISHED, STARTED
from tests.registry.records_of import PREFIX, key_of

CASES = Path(__file__).parents[1] / "cases/registry"
HOSTILE = CASES.with_name("hostile")
POLICY = AuditPolicy(topology="partial", minimum_coverage=0.0)

Record = dict[str, object]


def report_on(reading: RegistryReading) -> Report:
    return judge(
        Snapshot(
            STARTED,
            FINISHED,
            POLICY,
            reading.registrations,
            reading.invalid,
            gaps=reading.gaps,
            others=reading.others,
        )
    )


def report_of_case(name: str, folder: Path = CASES, **settings: object) -> Report:
    registry = FileRegistry(folder / name, ConsulSettings.model_validate(settings))
    return report_on(asyncio.run(registry.read()))


def said(report: Report) -> list[tuple[str, str]]:
    return [(finding.check, finding.subject) for finding in report.findings]


DUPLICATE = (Ident.DUPLICATE_ADDRESS, "10.32.0.1")


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.glob("0[023]-*.json")))
def test_the_duplicate_is_said_however_the_second_record_is_written(name: str) -> None:
    assert said(report_of_case(name)) == [DUPLICATE]


def test_a_lock_key_is_counted_and_no_finding() -> None:
    report = report_of_case("01-lock-key.json")
    assert said(report) == []
    assert report.others.sentence == "1 other key: 1 lock"
    assert report.coverage.registered == 1


@pytest.mark.parametrize("name", ["05-export-bom.json", "07-node-device.json"])
def test_an_export_in_another_shape_is_read(name: str) -> None:
    report = report_of_case(name)
    assert (said(report), report.gaps, report.coverage.registered) == ([], (), 1)


def test_an_address_that_a_retired_node_left_is_no_duplicate() -> None:
    assert said(report_of_case("06-tombstone-reused-address.json")) == [DUPLICATE]
    report = report_of_case("06-tombstone-reused-address.json", retired=["decommissioned"])
    assert (said(report), report.coverage.registered, report.registered) == ([], 1, {("", "db-fra-1")})


def first() -> Record:
    return {
        "public_key": key_of("one"),
        "ip": "10.32.0.1",
        "region": "fra",
        "endpoint": "198.18.0.1:51820",
        "ssh_host": "198.18.0.1",
    }


FOREIGN: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 2**70),
    st.floats(),
    st.text(max_size=300),
    st.lists(st.text(max_size=4), max_size=3),
    st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
    st.just("x" * 3000),
)

AROUND = st.text(" \t\r\n\ufeff", max_size=3)
ADDRESSES = st.one_of(
    st.builds("{}10.32.0.1{}".format, AROUND, AROUND),
    st.sampled_from(["10.32.0.1/8", "10.32.0.1/32", "10.32.0.9,10.32.0.1", '["10.32.0.1"]']),
    st.just(["10.32.0.1", "spoilt"]),
    st.just([None, "10.32.0.1"]),
)


@st.composite
def spoilt(draw: st.DrawFn) -> tuple[str, bytes]:
    """Name and value of a record of which one thing was spoilt that leaves its address readable."""
    record = {**first(), "public_key": key_of("two"), "ssh_host": "198.18.0.2"}
    name = "second"
    field = draw(
        st.sampled_from(
            ["public_key", "region", "endpoint", "ssh_host", "state", "note", "ip", "name", "gone"]
        )
    )
    if field == "ip":
        record["ip"] = draw(ADDRESSES)
    elif field == "name":
        name += draw(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=300).filter(
                lambda text: "/." not in text
            )
        )
        name = name.rstrip("/")
    elif field == "gone":
        del record[draw(st.sampled_from(["public_key", "region", "endpoint", "ssh_host"]))]
    else:
        record[field] = draw(FOREIGN)
    text = json.dumps(record, ensure_ascii=draw(st.booleans()))
    around: Callable[[bytes], bytes] = draw(
        st.sampled_from(
            [bytes, lambda raw: b"\xef\xbb\xbf" + raw + b"\n", lambda raw: json.dumps(raw.decode()).encode()]
        )
    )
    return name, around(text.encode(errors="replace"))


@given(spoilt())
def test_one_thing_spoilt_that_leaves_the_address_readable_hides_no_duplicate(
    second: tuple[str, bytes],
) -> None:
    name, value = second
    items = [KvItem(PREFIX + "first", json.dumps(first()).encode()), KvItem(PREFIX + name, value)]
    report = report_on(read_kv("kv-json", "", PREFIX, items, ConsulFields()))
    assert DUPLICATE in said(report)
    assert {check for check, _ in said(report)} <= {
        Ident.DUPLICATE_ADDRESS,
        Ident.INVALID_REGISTRATION,
        Ident.REGION_MISMATCH,
        Ident.DUPLICATE_PUBLIC_KEY,
        Ident.OUTSIDE_POOL,
    }


def test_the_reader_of_a_spoilt_registry_says_only_the_field() -> None:
    odd = {**first(), "public_key": "oops"}
    text = export_text({PREFIX + "a": json.dumps(first()).encode(), PREFIX + "b": json.dumps(odd).encode()})
    assert json.loads(text)[1]["key"] == PREFIX + "b"
    items = [
        KvItem(PREFIX + "a", json.dumps(first()).encode()),
        KvItem(PREFIX + "b", json.dumps(odd).encode()),
    ]
    report = report_on(read_kv("kv-json", "", PREFIX, items, ConsulFields()))
    assert report.verdict is Verdict.FINDINGS
    (invalid,) = (item for item in report.findings if item.check is Ident.INVALID_REGISTRATION)
    assert invalid.statement.startswith(
        f"The registration at {PREFIX}b cannot be read: public_key: not a public key"
    )
    assert invalid.statement.endswith("What can be read of it is audited.")
    assert report.coverage.registered == 2
    assert report.coverage.unreadable == 0


def test_names_that_look_alike_are_told_apart_on_the_page() -> None:
    text = table.render(report_of_case("kv-lookalikes.json", folder=HOSTILE), Layout(width=300))
    assert "\\u0435dge-sin-1" in text
    assert "edge-sin-1\\u034f" in text
    assert not {"\u0435", "\u034f"} & set(text)
