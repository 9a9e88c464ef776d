"""duplicate-address: who claims it, where they say so, and who is routed where."""

from __future__ import annotations

import pytest

from auditor.judge import judge
from auditor.values.models import Finding, Severity, Sureness, Witness
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
