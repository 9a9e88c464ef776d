"""Recording and replaying: the same snapshot comes back, or one clear line says why not."""

from __future__ import annotations

import base64
import gzip
import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import GapReason, SnapshotError
from auditor.judge import judge
from auditor.reports import json_v1
from auditor.reports.interface import Layout
from auditor.reports.terminal import table
from auditor.state.recording import from_json, record, replay, to_json
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.drains import Drained
from auditor.values.hidden_addresses import RouteKind, ShadowingRoute
from auditor.values.models import (
    AddressWrite,
    AuditPolicy,
    Device,
    FieldFault,
    Gap,
    InvalidRegistration,
    Looks,
    LostNodeLook,
    LostRegistration,
    Memory,
    MovedRegistration,
    NodeId,
    Observation,
    Registration,
    SecondLook,
    Snapshot,
)
from auditor.values.peer_transfers import PeerTransfer
from auditor.values.route_table import RouteTable
from auditor.values.text import without_login
from auditor.values.witness_answers import AnswerSource, WitnessAnswer
from tests.cases import CASES
from tests.fleets import key_of

MOMENT = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
maybe_text = st.none() | texts
masked_texts = texts.map(without_login)
maybe_host = st.none() | masked_texts
keys = st.binary(min_size=32, max_size=32).map(lambda raw: PublicKey(base64.b64encode(raw).decode()))
addresses = st.integers(0, 2**24 - 1).map(
    lambda number: Prefix(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32")
)
node_ids = st.builds(NodeId, texts, texts)
indexes = st.none() | st.integers(0, 2**63)
registrations = st.builds(
    Registration,
    node=node_ids,
    public_key=keys,
    addresses=st.lists(addresses, min_size=1, max_size=3).map(tuple),
    region=maybe_text,
    endpoint=maybe_host,
    ssh_host=maybe_host,
    values=st.just({}),
    where=texts,
    create_index=indexes,
    modify_index=indexes,
)
gaps = st.builds(
    Gap,
    source=st.sampled_from(["consul", "file", "ssh", "witness", "sweep"]),
    reason=st.sampled_from(GapReason),
    detail=masked_texts,
    node=maybe_text,
    datacenter=maybe_text,
)
tables = st.lists(st.tuples(keys, addresses), max_size=5, unique=True).map(
    lambda pairs: RouteTable("".join(f"{key}\t{prefix}\n" for key, prefix in sorted(pairs)).encode())
)
shadows = st.builds(
    ShadowingRoute,
    prefix=addresses,
    kind=st.sampled_from(RouteKind),
    device=texts,
    hidden=st.integers(0, 5000),
    sample=st.lists(addresses, max_size=2).map(tuple),
)
transfers = st.builds(PeerTransfer, keys, *[st.integers(0, 2**64 - 1)] * 3)


rounds = st.integers(0, 3)


answers = st.builds(
    WitnessAnswer,
    node_ids,
    addresses,
    st.sampled_from(AnswerSource),
    st.floats(0, 60),
    texts,
    st.none() | node_ids,
    maybe_text,
    st.none() | st.sampled_from(GapReason),
    masked_texts,
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Any snapshot, with observations whose tables are in it."""
    held = draw(st.lists(tables, min_size=1, max_size=3))
    observations = st.builds(
        Observation,
        node=node_ids,
        device=st.builds(Device, texts, keys, st.lists(addresses, max_size=2).map(tuple)),
        table=st.sampled_from([table.digest for table in held]),
        region=maybe_text,
        host_key=maybe_text,
        endpoints=st.none() | st.dictionaries(keys, texts, max_size=2),
        digested=st.booleans(),
        shadows=st.none() | st.lists(shadows, max_size=2).map(tuple),
        one_way=st.none() | st.lists(transfers, max_size=2).map(tuple),
        routes_unread=texts,
    )
    return Snapshot(
        started_at=MOMENT,
        finished_at=MOMENT + timedelta(seconds=draw(st.integers(0, 1000))),
        policy=AuditPolicy(
            topology=draw(st.sampled_from(["full", "partial"])),
            region_pools=draw(st.dictionaries(texts, st.just(Prefix("10.1.0.0/16")), max_size=2)),
            mesh=draw(st.sampled_from(["", "prod-eu"])),
        ),
        registrations=tuple(draw(st.lists(registrations, max_size=4))),
        invalid=tuple(
            draw(
                st.lists(
                    st.builds(
                        InvalidRegistration,
                        node_ids,
                        texts,
                        texts,
                        masked_texts,
                        st.lists(st.builds(FieldFault, texts, texts), max_size=2).map(tuple),
                    ),
                    max_size=2,
                )
            )
        ),
        observations=tuple(draw(st.lists(observations, max_size=4))),
        tables={table.digest: table for table in held},
        gaps=tuple(draw(st.lists(gaps, max_size=3))),
        in_flight=tuple(draw(st.lists(registrations, max_size=2))),
        second_look=draw(
            st.none()
            | st.builds(
                SecondLook,
                st.lists(node_ids, max_size=2).map(tuple),
                st.lists(observations, max_size=2).map(tuple),
                st.lists(gaps, max_size=1).map(tuple),
                st.integers(1, 3),
                st.booleans(),
                st.dictionaries(node_ids, st.builds(Looks, rounds, rounds, rounds), max_size=2),
                st.lists(st.builds(MovedRegistration, registrations, rounds), max_size=2).map(tuple),
            )
        ),
        cut_short=draw(st.none() | st.just("interrupted")),
        answers=tuple(draw(st.lists(answers, max_size=2))),
    )


@given(snapshots())
def test_a_snapshot_comes_back_as_it_was(snapshot: Snapshot) -> None:
    assert from_json(to_json(snapshot).encode(), "test") == snapshot


@given(snapshots())
def test_a_replay_gives_the_same_report_byte_for_byte(snapshot: Snapshot) -> None:
    again = from_json(to_json(snapshot).encode(), "test")
    assert json_v1.render(judge(again)) == json_v1.render(judge(snapshot))


def _small() -> Snapshot:
    key = PublicKey(base64.b64encode(bytes(32)).decode())
    table = RouteTable(f"{key}\t10.0.0.1/32\n".encode())
    node = NodeId("dc1", "edge-sin-1")
    return Snapshot(
        started_at=MOMENT,
        finished_at=MOMENT,
        policy=AuditPolicy(),
        registrations=(
            Registration(node, key, (Prefix("10.0.0.1/32"),), values={"ssh_password": "planted-secret"}),
        ),
        observations=(Observation(node, Device("wg0", key, (Prefix("10.0.0.1/32"),)), table.digest),),
        tables={table.digest: table},
    )


def test_a_recording_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json.gz"
    path.write_bytes(b"an older one")
    path.chmod(0o644)
    record(_small(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_recording_leaves_nothing_else_behind(tmp_path: Path) -> None:
    record(_small(), tmp_path / "sweep.json.gz")
    assert [item.name for item in tmp_path.iterdir()] == ["sweep.json.gz"]


def test_recording_the_same_snapshot_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    record(_small(), tmp_path / "one.json.gz")
    record(_small(), tmp_path / "two.json.gz")
    assert (tmp_path / "one.json.gz").read_bytes() == (tmp_path / "two.json.gz").read_bytes()


def test_other_values_of_a_registration_are_not_recorded() -> None:
    """They may hold anything, secrets included; a replay does not need them."""
    assert "planted-secret" not in to_json(_small())


def test_a_password_in_an_older_recording_is_in_no_report() -> None:
    """Recordings made before hosts were masked where they are read; the password holds an @ too."""
    text = "root:planted@planted@198.18.0.12"
    (item,) = _small().registrations
    before = replace(item, addresses=(Prefix("10.0.0.9/32"),), ssh_host="old", endpoint="old")
    now = replace(item, ssh_host="HOST", endpoint="HOST:51820")
    snapshot = replace(
        _small(),
        registrations=(now,),
        in_flight=(before,),
        invalid=(InvalidRegistration(item.node, "wg/x", "not JSON", "HOST"),),
        gaps=(Gap("ssh", GapReason.RESOLVE, "not a host name or address: HOST", "edge-sin-1", "dc1"),),
    )
    again = from_json(to_json(snapshot).replace("HOST", text).encode(), "test")
    for report in (
        json_v1.render(judge(again)),
        table.render(judge(again), Layout(width=200)),
        to_json(again),
    ):
        assert "[login]@198.18.0.12" in report
        assert "planted" not in report


def test_recording_into_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"cannot record to .*No such file or directory"):
        record(_small(), tmp_path / "nowhere" / "sweep.json.gz")


@pytest.mark.parametrize(
    ("text", "says"),
    [("," * 300_000, "values in"), ("x" * 70_000_000, "unpacks to")],
    ids=["values", "bytes"],
)
def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SnapshotError, match=rf"cannot record to .*no wgaudit could read it again.*{says}"):
        record(replace(_small(), cut_short=text), tmp_path / "sweep.json.gz")
    assert list(tmp_path.iterdir()) == []


def test_an_unpacked_recording_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    path.write_text(to_json(_small()))
    assert replay(path).registrations[0].node.name == "edge-sin-1"


def _cut(packed: bytes) -> bytes:
    return packed[: len(packed) // 2]


def _flip(packed: bytes) -> bytes:
    middle = len(packed) // 2
    return packed[:middle] + bytes([packed[middle] ^ 0xFF]) + packed[middle + 1 :]


def _edit(change: Callable[[dict[str, object]], object]) -> Callable[[bytes], bytes]:
    def edited(packed: bytes) -> bytes:
        document = json.loads(gzip.decompress(packed))
        change(document)
        return gzip.compress(json.dumps(document).encode())

    return edited


def _with_table(text: str) -> Callable[[dict[str, object]], object]:
    digest = RouteTable(text.encode()).digest
    return lambda document: document.update(tables={**document["tables"], digest: text})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        pytest.param(_cut, "cut off", id="cut off"),
        pytest.param(_flip, "damaged|not a recorded snapshot", id="a flipped byte"),
        pytest.param(lambda _: b"", "not a recorded snapshot", id="empty"),
        pytest.param(lambda _: b"[]", "not a recorded snapshot", id="another document"),
        pytest.param(_edit(lambda d: d.update(schema="wgaudit.snapshot/9")), "another version", id="version"),
        pytest.param(_edit(lambda d: d.pop("tables")), "tables", id="a part missing"),
        pytest.param(
            _edit(lambda d: d.update(started_at="2026-03-01T03:00:00")),
            "started_at",
            id="a time without a zone",
        ),
        pytest.param(_edit(lambda d: d.update(tables={})), "not in the file", id="a table missing"),
        pytest.param(_edit(lambda d: d.update(more=1)), "more", id="an unknown part"),
        pytest.param(
            _edit(lambda d: d.update(tables=dict.fromkeys(d["tables"], "other\n"))),  # type: ignore[call-overload]
            "does not have the digest",
            id="a table that is not what its digest says",
        ),
        pytest.param(_edit(_with_table("x\n")), "a line that no node sends", id="a table of something else"),
        pytest.param(
            _edit(_with_table(f"{key_of('a')}\t10.0.0.1/99\n")),
            "longer than 32 bits",
            id="a prefix that is none",
        ),
        pytest.param(
            _edit(lambda d: d["policy"].update(minimum_coverage=1.5)), "coverage", id="a share above 1"
        ),  # type: ignore[attr-defined]
        pytest.param(
            _edit(lambda d: d.update(started_at="2031-01-01T00:00:00+00:00")),
            "ended before",
            id="backwards",
        ),
        pytest.param(
            _edit(lambda d: d.update(started_at="0001-01-01T00:00:00+14:00")), "no sweep", id="year 1"
        ),
        pytest.param(_edit(lambda d: d.update(gaps=[0] * 8_000_000)), "so dense", id="a bomb of values"),
        pytest.param(
            _edit(lambda d: d.update({"of\nsomebody": 1})), "extra|Extra", id="a line end in a name"
        ),
        pytest.param(
            _edit(lambda d: d.update(tables={"a\nb": "x\n"})), "table a b… ", id="a line end in a digest"
        ),
        pytest.param(
            lambda _: gzip.compress(b"[" + bytes(70_000_000)), "unpacks to more than", id="a bomb of bytes"
        ),
        pytest.param(
            lambda packed: gzip.decompress(packed).replace(b'"cut_short"', b'"gaps": [], "cut_short"'),
            "stands twice",
            id="a name that stands twice",
        ),
    ],
)
def test_a_damaged_recording_is_refused_with_file_and_reason(
    tmp_path: Path, damage: Callable[[bytes], bytes], says: str
) -> None:
    path = tmp_path / "sweep.json.gz"
    record(_small(), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SnapshotError, match=says) as caught:
        replay(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_escape_sequences_in_every_text_of_a_recording_draw_nothing() -> None:
    snapshot = from_json((CASES / "hostile/rec-inj-esc.json").read_bytes(), "test")
    assert "\x1b" in snapshot.registrations[0].node.name
    text = table.render(judge(snapshot), Layout(width=120))
    assert "\x1b" not in text
    assert "edge-ams-1\\x1b" in text


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_plain_file_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = {"device": Path("/dev/zero"), "folder": tmp_path}.get(kind, tmp_path / "pipe")
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(SnapshotError, match=f"cannot read {path}: "):
        replay(path)


# What only a plan reads

CLAIMS = (
    AddressClaim(
        Prefix("10.0.0.7/32"),
        ClaimState.HELD,
        "edge-sin-1",
        PublicKey(base64.b64encode(bytes(32)).decode()),
        MOMENT,
        None,
        "adopt",
    ),
    AddressClaim(
        Prefix("fd00::8/128"),
        ClaimState.RELEASED,
        "gone",
        None,
        MOMENT,
        MOMENT + timedelta(days=30),
        "release",
    ),
)


def test_what_was_remembered_of_earlier_sweeps_comes_back(tmp_path: Path) -> None:
    """A replay withholds what the sweep withheld."""
    memory = Memory(
        drifted={NodeId("dc1", "b"): key_of("b"), NodeId("", "a"): key_of("a")},
        lost=tuple(
            LostRegistration(replace(_small().registrations[0], values={}), MOMENT, "{}", None, look)
            for look in (
                None,
                LostNodeLook(key_of("a"), (Prefix("10.0.0.9/32"),)),
                LostNodeLook(why_not="unreachable: planted"),
            )
        ),
        writes=(
            AddressWrite(NodeId("dc1", "b"), Prefix("10.0.0.5/32"), MOMENT, True, 7),
            AddressWrite(NodeId("", "a"), Prefix("fd00::5/128"), MOMENT, False),
        ),
        drained={NodeId("dc1", "b"): Drained(MOMENT, "anna", "command", "who answers?", "0123456789")},
    )
    record(replace(_small(), memory=memory), tmp_path / "now.json.gz")
    assert replay(tmp_path / "now.json.gz").memory == memory


@pytest.mark.parametrize("claims", [None, (), CLAIMS])
@pytest.mark.parametrize("workloads", [None, frozenset(), frozenset({NodeId("dc1", "b"), NodeId("", "a")})])
def test_claims_and_workloads_come_back_and_not_read_is_not_none_there(
    tmp_path: Path, claims: tuple[AddressClaim, ...] | None, workloads: frozenset[NodeId] | None
) -> None:
    snapshot = replace(_small(), address_claims=claims, workloads=workloads)
    record(snapshot, tmp_path / "sweep.json.gz")
    again = replay(tmp_path / "sweep.json.gz")
    assert (again.address_claims, again.workloads) == (claims, workloads)


def test_a_sweep_that_read_no_claims_is_recorded_as_older_versions_know_it() -> None:
    assert {"address_claims", "workloads", "memory", "answers"}.isdisjoint(json.loads(to_json(_small())))


def test_a_mesh_without_a_name_is_recorded_as_older_versions_know_it() -> None:
    assert "mesh" not in json.loads(to_json(_small()))["policy"]


def test_a_claim_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    text = to_json(replace(_small(), address_claims=CLAIMS))
    path.write_text(text.replace("10.0.0.7/32", "10.0.0.7/8", 1).replace('"held"', '"kept"'))
    with pytest.raises(SnapshotError, match=r"address_claims\.0\.prefix: host bits"):
        replay(path)
