"""duplicate-address: who claims it, where they say so, and who is routed where."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.judge import judge
from auditor.values.addresses import Prefix
from auditor.values.findings import Finding, Severity, Sureness, Witness
from auditor.values.models import AddressWrite, Memory
from tests.fleets import Mesh, contested, healthy, key_of, names, of

IDENT = "duplicate-address"


def one(mesh: Mesh) -> Finding:
    """The only finding of this check."""
    (finding,) = of(judge(mesh.snapshot()), IDENT)
    return finding


def test_a_pair_is_one_critical_finding_that_names_both_nodes_and_regions() -> None:
    """The incident in its smallest form."""
    finding = one(contested())
    assert finding.severity is Severity.CRITICAL
    assert finding.subject == "10.0.0.9"
    assert names(finding.nodes) == ["twin-fra", "twin-sin"]
    assert finding.regions == ("fra", "sin")


def test_the_evidence_counts_observers_by_key_and_by_their_region() -> None:
    """Claimants' own devices are no observers."""
    finding = one(contested())
    assert [(pick.public_key, pick.observers, dict(pick.regions)) for pick in finding.evidence.routing] == [
        (key_of("twin-sin"), 2, {"ams": 1, "sin": 1}),
        (key_of("twin-fra"), 1, {"ams": 1}),
    ]
    assert finding.evidence.observers == 3


def test_observers_that_route_it_to_nobody_are_counted() -> None:
    """Traffic from there is dropped."""
    finding = one(contested().lacks("watch-c", "twin-fra", "twin-sin"))
    assert [(pick.public_key, pick.observers) for pick in finding.evidence.routing] == [
        (key_of("twin-sin"), 2),
        (None, 1),
    ]
    assert "1 to nobody" in finding.summary


def test_a_triple_is_one_finding() -> None:
    """Three nodes, three regions, one incident."""
    finding = one(contested().node("twin-ams", "10.0.0.9", region="ams").picks("watch-a", "twin-ams"))
    assert names(finding.nodes) == ["twin-ams", "twin-fra", "twin-sin"]
    assert "3 nodes in 3 regions" in finding.summary


def test_a_duplicate_of_the_registry_alone_says_so() -> None:
    """No device holds it yet."""
    finding = one(contested().holds("twin-fra").holds("twin-sin"))
    assert "in the registry only" in finding.summary
    assert {claim.witness for claim in finding.evidence.claims} == {Witness.REGISTERED}


def test_a_duplicate_of_the_devices_alone_says_so() -> None:
    """The registry knows nothing of it."""
    finding = one(
        healthy().holds("edge-fra-1", "10.0.0.2", "10.0.0.9").holds("edge-sin-1", "10.0.0.3", "10.0.0.9")
    )
    assert "on devices only" in finding.summary
    assert {claim.witness for claim in finding.evidence.claims} == {Witness.DEVICE}


def test_a_registration_against_anothers_device_says_how_many_are_which() -> None:
    """One registered, two hold it."""
    assert "1 registered, 2 seen holding it" in one(healthy().holds("edge-sin-1", "10.0.0.2")).summary


def test_ipv6_is_contested_like_ipv4() -> None:
    """Shown without its length."""
    assert one(healthy().node("x", "fd00::2")).subject == "fd00::2"


def test_a_contested_network_counts_no_claimant_as_its_observer() -> None:
    """Each gateway routes the other's copy, but delivers its own."""
    mesh = (
        Mesh()
        .node("x", "10.0.0.8", "10.8.0.0/24")
        .node("y", "10.0.0.9", "10.8.0.0/24")
        .node("w", "10.0.0.10")
    )
    finding = one(mesh.picks("w", "y"))
    assert finding.subject == "10.8.0.0/24"
    assert [(pick.public_key, pick.observers) for pick in finding.evidence.routing] == [(key_of("y"), 1)]


def test_two_contested_addresses_are_two_findings() -> None:
    """One page each: they may have different claimants."""
    mesh = contested().node("x", "10.0.0.20").node("y", "10.0.0.20")
    assert [finding.subject for finding in of(judge(mesh.snapshot()), IDENT)] == ["10.0.0.20", "10.0.0.9"]


def test_the_first_address_of_a_pool_points_to_the_allocators_fallback() -> None:
    """Marked as a guess; two of them may have been written by hand."""
    finding = one(Mesh().node("x", "10.0.0.1", index=10).node("y", "10.0.0.1", index=9000))
    assert finding.probable_cause == "allocator-fallback"
    assert "Possibly the allocator fell back" in finding.summary


@pytest.mark.parametrize(
    ("indexes", "sureness"),
    [
        ((10, 2000, 4000), Sureness.PROBABLE),
        ((10, 11, 12), Sureness.POSSIBLE),
        ((10, 11, 4000), Sureness.POSSIBLE),
        ((10, 2000), Sureness.POSSIBLE),
        ((None, None, None), Sureness.POSSIBLE),
    ],
)
def test_the_fallback_is_probable_where_three_got_the_first_address_long_after_one_another(
    indexes: tuple[int | None, ...], sureness: Sureness
) -> None:
    """Whoever could read the registry then would have seen that it is taken, and no hand slips three times."""
    mesh = Mesh()
    for number, index in enumerate(indexes):
        mesh.node(f"x-{number}", "10.0.0.1", index=index)
    guess = one(mesh).guess
    assert guess is not None
    assert (guess.cause, guess.sureness) == ("allocator-fallback", sureness)


@pytest.mark.parametrize(("later", "cause"), [(612, "parallel-writers"), (613, None)])
def test_registrations_written_close_together_point_to_parallel_writers(
    later: int, cause: str | None
) -> None:
    """As far as 32 writers with 16 writes each, and no further."""
    mesh = (
        Mesh()
        .node("x", "10.0.0.5", index=100)
        .node("y", "10.0.0.5", index=later)
        .node("z", "10.0.0.5", index=9000)
    )
    assert one(mesh).probable_cause == cause


def test_two_that_are_close_in_index_are_only_possibly_of_parallel_writers() -> None:
    """One hand may have written both, one after the other."""
    guess = one(Mesh().node("x", "10.0.0.5", index=100).node("y", "10.0.0.5", index=104)).guess
    assert guess is not None
    assert guess.sureness is Sureness.POSSIBLE
    assert guess.sentence.startswith("Possibly written by parallel writers")


@pytest.mark.parametrize(
    ("order", "sureness"),
    [
        ("abba", Sureness.PROBABLE),
        ("abab", Sureness.POSSIBLE),
        ("aabb", Sureness.POSSIBLE),
        ("aaaa", Sureness.POSSIBLE),
    ],
)
def test_parallel_writers_are_probable_where_another_address_was_doubled_in_between(
    order: str, sureness: Sureness
) -> None:
    """No hand that writes in order, or runs twice over one list, leaves such an order behind."""
    mesh = Mesh()
    for number, letter in enumerate(order):
        mesh.node(f"{letter}-{number}", f"10.0.0.{ord(letter)}", index=100 + 4 * number)
    guesses = [item.guess for item in of(judge(mesh.snapshot()), IDENT)]
    assert {(guess.cause, guess.sureness) for guess in guesses if guess} == {("parallel-writers", sureness)}


def test_both_families_of_one_pair_prove_nothing_of_each_other() -> None:
    """They were written together."""
    mesh = Mesh().node("x", "10.0.0.5", "fd00::5", index=100).node("y", "10.0.0.5", "fd00::5", index=104)
    guesses = [item.guess for item in of(judge(mesh.snapshot()), IDENT)]
    assert {guess.sureness for guess in guesses if guess} == {Sureness.POSSIBLE}


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.5"])
def test_one_key_with_one_address_under_two_names_is_none_of_the_allocators_doing(address: str) -> None:
    """It follows from the key, which says what it may be."""
    mesh = Mesh().node("x", address, key="k", index=100).node("y", address, key="k", index=101)
    assert one(mesh).guess is None


@pytest.mark.parametrize(("between", "cause"), [(15, "parallel-writers"), (16, None)])
def test_registrations_with_many_others_between_them_were_not_written_in_parallel(
    between: int, cause: str | None
) -> None:
    """As in a registry that was restored from a file: all its indexes lie close together."""
    mesh = Mesh().node("x", "10.0.0.5", index=100).node("y", "10.0.0.5", index=101 + between)
    for number in range(between):
        mesh.node(f"other-{number}", f"10.0.1.{number + 1}", index=101 + number)
    assert one(mesh).probable_cause == cause


def test_each_datacenter_counts_indexes_of_its_own() -> None:
    """Two of them that happen to be close say nothing."""
    mesh = Mesh().node("x", "10.0.0.5", index=100).node("y", "10.0.0.5", index=101, dc="dc2")
    assert one(mesh).probable_cause is None


def test_without_indexes_no_cause_is_guessed() -> None:
    """A file has none."""
    finding = one(contested())
    assert finding.probable_cause is None
    assert "Possibly" not in finding.summary


def test_the_fingerprint_stays_when_claimants_and_observers_change() -> None:
    """One contested address is one incident across sweeps."""
    more = contested().node("twin-ams", "10.0.0.9").picks("watch-a", "twin-ams").not_seen("watch-b")
    assert one(contested()).fingerprint == one(more).fingerprint


# -- writes that the journal knows to the moment

WRITTEN = datetime(2026, 3, 1, 2, 59, 7, 240_000, tzinfo=UTC)


def written(mesh: Mesh, *times: float, known: bool = True) -> Mesh:
    """The nodes got 10.0.0.5 so many seconds after `WRITTEN`, in the order of their names; the last one for sure."""
    last = len(times) - 1
    mesh.memory = Memory(
        writes=tuple(
            AddressWrite(
                mesh.find(name),
                Prefix("10.0.0.5/32"),
                WRITTEN + timedelta(seconds=seconds),
                to_the_moment=known or number == last,
                index=100 + number if known else None,
            )
            for number, (name, seconds) in enumerate(zip("xyz", times, strict=False))
        )
    )
    return mesh


def pair(first: int = 100, second: int = 104) -> Mesh:
    return Mesh().node("x", "10.0.0.5", index=first).node("y", "10.0.0.5", index=second)


@pytest.mark.parametrize(
    ("seconds", "second_index", "cause"),
    [
        (0.3, 104, "parallel-writers"),
        (0.3, 90_000, "parallel-writers"),
        (5.0, 90_000, "parallel-writers"),
        (5.1, 90_000, None),
        (14.9, 104, "parallel-writers"),
        (15.0, 104, None),
        (20.0, 104, None),
    ],
)
def test_the_time_between_two_writes_tells_parallel_writers_where_it_is_known(
    seconds: float, second_index: int, cause: str | None
) -> None:
    """0.3 s apart they are, however busy the cluster; 20 s apart they are not, however quiet. Between: the indexes."""
    assert one(written(pair(100, second_index), 0.0, seconds)).probable_cause == cause


def test_summary_guess_and_evidence_say_which_writes_and_when() -> None:
    finding = one(written(pair(), 0.0, 0.3))
    assert "Written to the registry: x 2026-03-01 02:59:07.2 UTC, y 0.3 s later." in finding.summary
    assert finding.guess is not None
    assert finding.guess.sentence == "Possibly written by parallel writers: y only 0.3 s after x."
    assert finding.guess.facts == (("seconds apart", "0.3"),)
    assert [(item.node.name, item.index) for item in finding.evidence.writes] == [("x", 100), ("y", 101)]


def test_writes_far_apart_are_told_although_they_point_nowhere() -> None:
    finding = one(written(pair(), 0.0, 20.0))
    assert finding.guess is None
    assert "y 20.0 s later" in finding.summary


def test_who_held_it_long_before_is_no_parallel_writer() -> None:
    """Of the first it is only known that it was there; that is enough."""
    finding = one(written(pair(), 0.0, 60.0, known=False))
    assert (
        finding.guess,
        "Written to the registry: x before, y 2026-03-01 03:00:07.2 UTC." in finding.summary,
    ) == (
        None,
        True,
    )


def test_who_may_have_held_it_for_a_moment_only_may_be_one() -> None:
    """A sweep saw it there just before; when it was written is not known, so the indexes speak."""
    guess = one(written(pair(), 0.0, 3.0, known=False)).guess
    assert guess is not None
    assert "CreateIndex of the registrations only 4 apart" in guess.sentence


def test_of_three_the_two_that_wrote_at_once_are_named() -> None:
    mesh = pair().node("z", "10.0.0.5", index=108)
    guess = one(written(mesh, 0.0, 60.0, 60.4)).guess
    assert guess is not None
    assert guess.sentence == "Possibly written by parallel writers: z only 0.4 s after y."


def test_the_fallback_is_probable_where_three_times_lie_far_apart_whatever_their_indexes() -> None:
    mesh = Mesh()
    for number, name in enumerate("xyz"):
        mesh.node(name, "10.0.0.1", index=10 + number)
    mesh.memory = Memory(
        writes=tuple(
            AddressWrite(mesh.find(name), Prefix("10.0.0.1/32"), WRITTEN + timedelta(minutes=number), True)
            for number, name in enumerate("xyz")
        )
    )
    guess = one(mesh).guess
    assert guess is not None
    assert (guess.cause, guess.sureness) == ("allocator-fallback", Sureness.PROBABLE)


def test_a_registration_that_got_the_address_by_a_later_write_was_not_created_with_it() -> None:
    """Registered side by side, and one of them was given the other's address much later: CreateIndex says nothing."""
    mesh = pair()
    for number in range(40):
        mesh.node(f"other-{number}", f"10.0.1.{number + 1}", index=200 + number)
    moved = mesh.find("y")
    mesh.registrations[moved] = replace(mesh.registrations[moved], modify_index=5000)
    at = WRITTEN + timedelta(seconds=11)
    mesh.memory = Memory(
        writes=(
            AddressWrite(mesh.find("x"), Prefix("10.0.0.5/32"), WRITTEN, to_the_moment=False),
            AddressWrite(moved, Prefix("10.0.0.5/32"), at, to_the_moment=True, index=5000),
        )
    )
    assert one(mesh).probable_cause is None


@given(
    st.lists(st.tuples(st.floats(0, 60), st.booleans()), min_size=2, max_size=3),
    st.integers(1, 2000),
)
def test_what_is_known_of_writes_never_contradicts_the_guess(
    times: list[tuple[float, bool]], apart: int
) -> None:
    """Whatever is known: two within 5 s are parallel writers; where each pair is 15 s apart for sure, none are."""
    mesh = Mesh()
    writes = []
    for number, (seconds, known) in enumerate(times):
        mesh.node("xyz"[number], "10.0.0.5", index=100 + apart * number)
        at = WRITTEN + timedelta(seconds=seconds)
        writes.append(AddressWrite(mesh.find("xyz"[number]), Prefix("10.0.0.5/32"), at, known))
    mesh.memory = Memory(writes=tuple(writes))
    cause = one(mesh).probable_cause
    moments = sorted(item.at for item in writes if item.to_the_moment)
    if any((later - earlier).total_seconds() <= 5 for earlier, later in pairwise(moments)):
        assert cause == "parallel-writers"
    in_order = sorted(writes, key=lambda item: item.at)
    if all(
        later.to_the_moment and (later.at - earlier.at).total_seconds() >= 15
        for earlier, later in pairwise(in_order)
    ):
        assert cause is None
