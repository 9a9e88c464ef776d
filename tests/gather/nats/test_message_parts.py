"""Rows of messages, and what is divided among them: one side reads what the other wrote, and believes nothing else."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from auditor.errors import GapReason, InvalidValue, StreamBroken
from auditor.gather.collector import Seen, node_of
from auditor.gather.nats.look_reading import LookBounds, LookReading
from auditor.gather.nats.message_parts import (
    LEAST_BYTES,
    MOST_LEFT_OUT,
    MOST_NAMED,
    ReadingLines,
    ReadingTexts,
    RowReading,
    RowWriting,
    WritingLines,
    batches,
    line_batches,
    read_table,
    room_of,
    text_parts,
)
from auditor.gather.nats.messages import (
    BATCH,
    MOST_CHANGED,
    Alive,
    Last,
    NodeSeen,
    OpenJob,
    SeenBatch,
    TableDifference,
    TextPart,
    node_to_ask,
    node_unseen,
    read_from_collector,
    read_long,
    read_open,
    registration_to_ask,
    written,
)
from auditor.state.recorded_forms import read_observation
from auditor.values.addresses import Prefix
from auditor.values.hidden_addresses import RouteKind, ShadowingRoute
from auditor.values.models import Device, Gap, Observation, Registration
from auditor.values.peer_transfers import PeerTransfer
from auditor.values.route_table import RouteTable
from tests.fleets import Mesh, key_of

JOB = "0123456789abcdef" * 2
BOUNDS = LookBounds(64 * 1024 * 1024, 1024 * 1024)


def fleet_of(number: int) -> Mesh:
    """So many nodes of one table, but for two that say otherwise, and the last one, which is not seen."""
    mesh = Mesh()
    for at in range(number):
        mesh.node(f"node-{at}", f"10.0.{at // 250}.{at % 250 + 1}")
    mesh.empties("node-1", "node-0").lacks("node-2", "node-3", "node-4")
    return mesh.not_seen(f"node-{number - 1}")


def seen_of(mesh: Mesh) -> list[Seen]:
    """What a look at the fleet gives."""
    return [
        Gap("ssh", reason, "planted", node.name, node.datacenter)
        if (reason := mesh.unseen.get(node)) is not None
        else mesh.observe(node)
        for node in mesh.registrations
    ]


def row_of(results: Sequence[Seen], tables: Sequence[RouteTable], sizes: Sequence[int]) -> list[bytes]:
    """Messages of a look: results in batches of these sizes, tables as differences from the first, texts among them."""
    writing, lines = RowWriting(JOB), WritingLines()
    raw = []
    base = tables[0]
    for table in tables[1:]:
        without, plus = set(base.lines()) - set(table.lines()), set(table.lines()) - set(base.lines())
        held = RouteTable(base.text, tuple(sorted(without)), tuple(sorted(plus)))
        difference = lines.difference(table.digest, base.digest, held)
        assert difference is not None
        raw.append(writing.write(SeenBatch(job=JOB, lines=lines.new(), differences=[difference])))
    left = list(results)
    for size in [*sizes, *([BATCH] * (len(left) // BATCH + 1))]:
        now, left = left[:size], left[size:]
        observations = [NodeSeen.model_validate(item) for item in now if isinstance(item, Observation)]
        gaps = [node_unseen(item) for item in now if isinstance(item, Gap)]
        raw.append(writing.write(SeenBatch(job=JOB, observations=observations, gaps=gaps)))
        raw.append(writing.write(Alive(job=JOB)))
    raw += [writing.write(part) for part in text_parts(JOB, base.text, LEAST_BYTES)]
    raw.append(writing.write(Last(job=JOB, count=writing.number, sha256=writing.before)))
    return raw


def reading_of(mesh: Mesh) -> LookReading:
    reading = LookReading(JOB, mesh.registrations, "wg0", BOUNDS)
    reading.want(mesh.table(next(iter(mesh.registrations))).digest)
    return reading


MESH = fleet_of(7)
RESULTS = seen_of(MESH)
TABLES = list(MESH.tables().values())
ROW = row_of(RESULTS, TABLES, [2, 1, 3])


@given(st.permutations(RESULTS), st.lists(st.integers(1, 5), max_size=7))
@settings(max_examples=50, deadline=None)
def test_a_look_is_read_as_it_was_written_in_any_order_and_any_batches(
    results: list[Seen], sizes: list[int]
) -> None:
    """Each value whole, tables by text and by difference."""
    reading = reading_of(MESH)
    believed = [reading.take(raw) for raw in row_of(results, TABLES, sizes)]

    assert sorted((item for each in believed for item in each.results), key=node_of) == sorted(
        results, key=node_of
    )
    assert reading.ended
    (whole,) = [text for each in believed for text in each.texts]
    assert whole.fits
    base = read_table(whole.text)
    assert {base.digest} | {
        digest
        for digest, difference in reading.differences.items()
        if reading.lines.table(difference, base).digest == digest
    } == {table.digest for table in TABLES}


@given(st.integers(0, len(ROW) - 1), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_a_message_that_was_changed_on_its_way_makes_nothing_believed_that_was_not_said(
    place: int, chance: random.Random
) -> None:
    """Whatever byte it is: the results that are believed were sent, and the look is not whole."""
    changed = bytearray(ROW[place])
    at = chance.randrange(len(changed))
    changed[at] = (changed[at] + chance.randrange(1, 256)) % 256
    reading, results, tables = reading_of(MESH), [], []
    ended = False
    try:
        for raw in [*ROW[:place], bytes(changed), *ROW[place + 1 :]]:
            believed = reading.take(raw)
            results += believed.results
            tables += [read_table(text.text) for text in believed.texts if text.fits]
        ended = reading.ended
    except (StreamBroken, InvalidValue):
        pass

    assert all(seen in RESULTS for seen in results)
    assert all(table in TABLES for table in tables)
    # The last message vouches for all; of itself it says nothing but that.
    assert not ended or place == len(ROW) - 1


@given(st.lists(st.integers(0, len(ROW) - 1), max_size=40))
@settings(max_examples=200, deadline=None)
def test_lost_doubled_and_late_messages_never_make_a_whole_look_of_a_part(places: list[int]) -> None:
    """Messages in any selection and order: each result at most once, and the end only after all."""
    reading, results = reading_of(MESH), []
    try:
        for place in places:
            results += reading.take(ROW[place]).results
    except StreamBroken:
        pass
    assert len(results) == len({id(seen) for seen in results})
    assert all(seen in RESULTS for seen in results)
    if reading.ended:
        assert len(results) == len(RESULTS)


def test_each_message_twice_is_the_same_look() -> None:
    reading, results = reading_of(MESH), []
    for raw in ROW:
        results += reading.take(raw).results + reading.take(raw).results
    assert sorted(results, key=node_of) == sorted(RESULTS, key=node_of)
    assert f"{len(ROW)} doubled" in reading.words()


@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=6),
    ).map(lambda value: json.dumps(value).encode())
)
@settings(max_examples=200, deadline=None)
def test_what_is_no_message_is_left_out_and_counted(raw: bytes) -> None:
    reading = RowReading(JOB, read_from_collector)
    assert reading.take(raw) is None
    assert reading.left_out.total() == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 400_000,
        b'{"schema":"wgaudit.collect/1","kind":"alive","job":"'
        + JOB.encode()
        + b'","number":'
        + b"9" * 400_000,
        b'{"a":1,"a":2}',
        b'{"kind":"alive","job":"%b","number":0,"before":"%b"}'
        % (JOB.encode(), hashlib.sha256().hexdigest().encode()),
        written(Alive(job=JOB)).replace(b"collect/1", b"collect/2"),
        written(Alive(job=JOB)).replace(b'"kind"', b'"more":1,"kind"'),
        written(Alive(job=JOB)) + b" " * 600_000,
    ],
    ids=["deep", "long number", "a name twice", "no schema", "another version", "more than the form", "huge"],
)
def test_a_hostile_message_costs_nothing_but_itself(raw: bytes) -> None:
    reading = RowReading(JOB, read_from_collector)
    assert reading.take(raw) is None
    assert reading.take(written(Alive(job=JOB))) is not None


def test_a_flood_of_what_is_none_of_the_job_ends_it() -> None:
    reading = RowReading(JOB, read_from_collector)
    for _ in range(MOST_LEFT_OUT):
        reading.take(b"")
    with pytest.raises(StreamBroken, match=r"too much .*1,001 unreadable"):
        reading.take(b"")


@given(
    st.text(st.sampled_from('ab\t\n"\\é€😀'), max_size=60_000).map(str.encode),
    st.sampled_from([LEAST_BYTES, room_of(64 * 1024), room_of(1024 * 1024)]),
)
@settings(max_examples=30, deadline=None)
def test_a_text_is_put_together_from_parts_of_any_size(text: bytes, most: int) -> None:
    texts, writing = ReadingTexts(len(text) or 1), RowWriting(JOB, most)
    whole = [texts.take(_read_part(writing.write(part))) for part in text_parts(JOB, text, most)]
    assert whole[:-1] == [None] * (len(whole) - 1)
    assert whole[-1] is not None
    assert (whole[-1].text, whole[-1].fits) == (text, True)


def _read_part(raw: bytes) -> TextPart:
    part = read_from_collector(raw)
    assert isinstance(part, TextPart)
    return part


def test_parts_of_two_texts_do_not_mix_and_a_text_has_a_bound() -> None:
    one, other = (list(text_parts(JOB, mark * 30_000, LEAST_BYTES)) for mark in (b"a", b"b"))
    texts = ReadingTexts(40_000)
    texts.take(one[0])
    with pytest.raises(StreamBroken, match="out of its turn"):
        texts.take(other[1])
    texts = ReadingTexts(len(one[0].text) + 1)
    texts.take(one[0])
    with pytest.raises(StreamBroken, match="a text of more than"):
        texts.take(one[1])


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=30), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_lists_are_divided_so_that_each_fits_and_nothing_is_lost(lengths: list[int], most: int) -> None:
    gaps = [
        node_unseen(Gap("ssh", GapReason.AUTH, "x" * min(length, 2000), str(at)))
        for at, length in enumerate(lengths)
    ]
    divided = list(batches(gaps, LEAST_BYTES, most))
    assert [gap for batch in divided for gap in batch] == gaps
    assert all(len(batch) <= most for batch in divided)
    for batch in divided:
        RowWriting(JOB, LEAST_BYTES).write(SeenBatch(job=JOB, gaps=batch))
    lines = [f"{key_of(str(at))}\t10.0.0.{at}/32" for at in range(len(lengths) * 20)]
    in_batches = list(line_batches(lines, LEAST_BYTES))
    assert [line for batch in in_batches for line in batch] == lines
    for told in in_batches:
        RowWriting(JOB, LEAST_BYTES).write(SeenBatch(job=JOB, lines=told))


@pytest.mark.parametrize(
    ("lines", "without", "plus", "words"),
    [
        (["no line"], [], [0], "a line that no node sends"),
        ([f"{key_of('x')}\t10.9.9.9/32\n{key_of('y')}\t10.9.9.8/32"], [], [0], "a line end in it"),
        ([f"{key_of('x')}\t10.9.9.9/8"], [], [0], "host bits"),
        ([f"{key_of('x')}\t10.9.9.9/32"], [0], [], "does not fit"),
        ([f"{key_of('x')}\t10.9.9.9/32"], [], [0, 0], "a line twice"),
        ([], [], [5], "a line that did not come"),
    ],
)
def test_a_difference_that_no_table_has_is_refused(
    lines: list[str], without: list[int], plus: list[int], words: str
) -> None:
    reading = ReadingLines()
    raw = written(
        SeenBatch.model_validate(
            {
                "job": JOB,
                "lines": lines,
                "differences": [{"digest": "0" * 64, "base": "1" * 64, "without": without, "plus": plus}],
            }
        )
    )
    message = read_from_collector(raw)
    assert isinstance(message, SeenBatch)
    with pytest.raises(StreamBroken, match=words):
        _table(reading, message)


def test_differences_name_no_more_lines_than_an_auditor_can_hold() -> None:
    """A number of two bytes takes thirty-two in memory."""
    numbers = [0] * MOST_CHANGED
    one = TableDifference(digest="0" * 64, base="1" * 64, without=numbers, plus=numbers)
    reading = ReadingLines()
    reading.count([one] * (MOST_NAMED // len(numbers) // 2))
    with pytest.raises(StreamBroken, match="name more than 4,000,000 lines"):
        reading.count([one])
    with pytest.raises(ValidationError):
        TableDifference(digest="0" * 64, base="1" * 64, without=[*numbers, 0], plus=[])


def _table(reading: ReadingLines, message: SeenBatch) -> RouteTable:
    reading.take(message.lines)
    return reading.table(message.differences[0], TABLES[0])


def test_a_table_has_any_prefix_that_a_node_may_show_and_no_other() -> None:
    """wg prints IPv4-mapped prefixes, which no registration may hold."""
    key = key_of("x").encode()
    good = b"%b\t10.0.0.1/32\n%b\t::ffff:10.0.0.1/128\n%b\tfdaa::1/128\n" % (key, key, key)
    assert read_table(good) == RouteTable(good)
    for bad in (b"::ffff:10.0.0.1/95", b"::ffff:10.0.0.1/127", b"10.0.0.1/24", b"fdaa:0::1/128"):
        with pytest.raises(InvalidValue):
            read_table(b"%b\t%b\n" % (key, bad))
    for unsorted in (good[::-1], good + good):
        with pytest.raises(InvalidValue):
            read_table(unsorted)


def test_a_difference_from_a_table_that_is_held_as_a_difference_is_the_same_table() -> None:
    """The auditor may hold the base by another region's text."""
    texts = [
        RouteTable(
            b"".join(
                f"{key_of(str(at))}\t10.0.0.{at}/32\n".encode()
                for at in sorted(numbers, key=lambda at: key_of(str(at)))
            )
        )
        for numbers in ({1, 2, 3}, {2, 3, 4}, {3, 5, 1})
    ]
    first, base, wanted = texts

    def held(table: RouteTable, by: RouteTable) -> RouteTable:
        ours, theirs = set(table.lines()), set(by.lines())
        return RouteTable(by.text, tuple(sorted(theirs - ours)), tuple(sorted(ours - theirs)))

    lines = WritingLines()
    difference = lines.difference(wanted.digest, base.digest, held(wanted, base))
    assert difference is not None
    reading = ReadingLines()
    reading.take(lines.new())
    assert reading.table(difference, held(base, first)) == wanted


def test_a_registration_travels_without_what_no_collector_needs() -> None:
    """Values that the template of the host does not name may be secrets."""
    registration = Registration(
        MESH.find("node-0"),
        key_of("node-0"),
        (Prefix("10.0.0.1/32"),),
        "fra",
        "198.18.0.1:51820",
        "198.18.0.1",
        {"rack": "r1", "token": "s3cret"},
        where="wireguard/nodes/node-0",
    )
    form = node_to_ask(registration, ["rack", "floor"])
    assert b"s3cret" not in written(form)
    back = registration_to_ask(form)
    assert (back.node, back.public_key, back.addresses) == (
        registration.node,
        registration.public_key,
        registration.addresses,
    )
    assert (back.region, back.endpoint, back.ssh_host, back.values) == (
        "fra",
        "198.18.0.1:51820",
        "198.18.0.1",
        {"rack": "r1"},
    )


def test_a_name_that_is_no_text_is_refused_before_it_is_sent() -> None:
    registration = Registration(MESH.find("node-0")._replace(name="node-\udc80"), None, ())
    with pytest.raises(InvalidValue, match="cannot be sent to a collector"):
        node_to_ask(registration, [])


def test_an_observation_is_the_same_value_on_the_other_side_with_all_that_it_can_hold() -> None:
    key, prefix = key_of("peer"), Prefix("10.0.0.7/32")
    seen = Observation(
        MESH.find("node-0"),
        Device("wg0", key_of("node-0"), (Prefix("10.0.0.1/32"), Prefix("fd00::1/128")), link_up=False),
        TABLES[0].digest,
        region="Frankfurt (Höchst)",
        host_key="SHA256:abc",
        endpoints={key: "[fe80::1%eth0]:51820"},
        handshake_ages={key: 7},
        digested=False,
        shadows=(ShadowingRoute(prefix, RouteKind.BLACKHOLE, "", 3, (prefix,)),),
        routes_unread="ip: not found",
        transfers_unread="sudo: a password is required",
        one_way=(PeerTransfer(key, 1, 2**60, 4),),
    )
    assert read_observation(read_long(written(NodeSeen.model_validate(seen)), 10_000)) == seen


def test_the_request_for_a_job_is_strict() -> None:
    asked = OpenJob(job=JOB, region="fra", nodes=3, device="wg0", pools=["10.0.0.0/8"])
    assert read_open(written(asked)) == asked
    for old, new in (
        (b'"fra"', b'"fra.>"'),
        (b'"nodes":3', b'"nodes":"3"'),
        (b"10.0.0.0/8", b"10.0.0.0/33"),
        (b'"wg0"', b'"wg0;"'),
    ):
        with pytest.raises(InvalidValue):
            read_open(written(asked).replace(old, new))
