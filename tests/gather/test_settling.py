"""What changes while a sweep looks: it is looked at again until it holds still, or the sweep does not say clean."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

from auditor.errors import GapReason
from auditor.gather.settling import ROUNDS
from auditor.gather.sweep import SweepOptions
from auditor.judge import judge
from auditor.nodes.table_store import TableStore
from auditor.values.models import Memory, NodeId, Observation, Registration, RegistryReading, Snapshot
from auditor.values.report import Report, Verdict
from tests.fakes import NO_SECOND, MemoryNodes, MemoryRegistry, look, moving, reading
from tests.fleets import Mesh, idents, key_of, names, prefixes

AT_ONCE = SweepOptions(confirm_after=0.0)


def fleet(size: int = 12) -> Mesh:
    """A healthy full mesh: n02, n03 and so on, each with the address of its number."""
    mesh = Mesh()
    for number in range(2, size + 2):
        mesh.node(f"n{number:02}", f"10.0.0.{number}")
    return mesh


def changed(mesh: Mesh, change: Callable[[Mesh], object]) -> Mesh:
    """The fleet after a change; the one before stays as it is."""
    after = copy.deepcopy(mesh)
    change(after)
    return after


def registered(mesh: Mesh, name: str, **fields: object) -> Mesh:
    """The fleet with one registration written anew, which its nodes follow."""

    def write(after: Mesh) -> None:
        node = after.find(name)
        after.registrations[node] = replace(after.registrations[node], **fields)  # type: ignore[arg-type]

    return changed(mesh, write)


def rotated(mesh: Mesh, name: str, key: str) -> Mesh:
    """The node has a new key, in the registry, on its device and on all its peers."""
    return changed(registered(mesh, name, public_key=key_of(key)), lambda after: after.rekeyed(name, key))


def looping(mesh: Mesh, name: str) -> list[RegistryReading]:
    """Readings between which somebody writes a new address for the node each time."""
    return [
        reading(registered(mesh, name, addresses=prefixes([f"10.0.9.{number}"]))) for number in range(1, 9)
    ]


async def swept(*moments: Mesh, options: SweepOptions = AT_ONCE) -> Report:
    """The report on a fleet that is read, looked at, read, looked at again and so on, at these moments."""
    return judge(await look(*moving(*moments), options))


def standing(report: Report) -> list[tuple[str, str]]:
    """What counts, by check and subject."""
    return [(finding.check, finding.subject) for finding in report.standing]


# -- registrations in flight


async def test_a_heartbeat_in_a_registration_keeps_nobody_from_being_judged() -> None:
    """It is written anew between any two readings, and the device holds another node's address all the while."""
    mesh = fleet().holds("n02", "10.0.0.3")
    beats = [
        reading(registered(mesh, "n02", values={"updated_at": str(number)}, modify_index=number))
        for number in range(9)
    ]
    report = judge(await look(MemoryRegistry(*beats), MemoryNodes(mesh), AT_ONCE))
    assert report.in_flight == ()
    assert report.verdict is Verdict.FINDINGS
    assert {("duplicate-address", "10.0.0.3"), ("address-drift", "n02")} <= set(standing(report))


async def test_an_endpoints_new_port_is_no_change() -> None:
    """A node behind a translated address is registered with another one each time."""
    ports = [
        reading(registered(fleet(), "n02", endpoint=f"198.18.0.1:{port}")) for port in range(50000, 50009)
    ]
    report = judge(await look(MemoryRegistry(*ports), fleet(), AT_ONCE))
    assert report.verdict is Verdict.CLEAN


async def test_a_registration_that_is_written_again_and_again_is_never_clean() -> None:
    """A provisioner that crashes and begins anew: nobody can say which address is meant."""
    mesh = fleet()
    report = judge(await look(MemoryRegistry(*looping(mesh, "n02")), MemoryNodes(mesh), AT_ONCE))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert names(report.in_flight) == ["n02"]
    (gap,) = report.gaps
    assert (gap.node, gap.reason) == ("n02", GapReason.UNSETTLED)
    assert "address 10.0.9.5, before 10.0.9.1, 10.0.9.2, 10.0.9.3 and 10.0.9.4" in gap.detail


async def test_a_registration_that_did_not_hold_still_in_two_sweeps_running_is_a_finding() -> None:
    """Remembered from the sweep before."""
    mesh = fleet()
    snapshot = await look(MemoryRegistry(*looping(mesh, "n02")), MemoryNodes(mesh), AT_ONCE)
    before = Memory(unsettled=frozenset({NodeId("dc1", "n02"), NodeId("dc1", "n03")}))
    report = judge(replace(snapshot, memory=before))
    assert standing(report) == [("unsettled-registration", "n02")]
    assert report.findings[0].confirmed is True


async def test_what_is_live_on_a_node_that_does_not_hold_still_is_judged() -> None:
    """Its device holds another node's address, whatever is written for it."""
    mesh = fleet().holds("n02", "10.0.0.3")
    report = judge(await look(MemoryRegistry(*looping(mesh, "n02")), MemoryNodes(mesh), AT_ONCE))
    assert ("duplicate-address", "10.0.0.3") in standing(report)
    assert "address-drift" not in idents(report)


async def test_what_changed_once_is_looked_at_again_and_then_judged_like_all_others() -> None:
    """The registration moved on, and the device did not."""
    before, after = fleet(), registered(fleet(), "n02", addresses=prefixes(["10.0.0.99"]))
    stays = changed(after, lambda mesh: mesh.holds("n02", "10.0.0.2"))
    report = await swept(before, stays, after, stays)
    assert report.in_flight == ()
    assert ("address-drift", "n02") in standing(report)


async def test_a_node_that_joins_in_good_order_is_asked_and_the_fleet_is_clean() -> None:
    """It is registered while the others are asked, and half of them do not know it yet."""
    after = fleet().node("n99", "10.0.0.99")
    half = changed(after, lambda mesh: [mesh.lacks(f"n{number:02}", "n99") for number in range(2, 8)])
    registry, nodes = moving(fleet(), half, after, after)
    snapshot = await look(registry, nodes, AT_ONCE)
    assert "n99" in names(item.node for item in snapshot.observations)
    report = judge(snapshot)
    assert (report.verdict, report.coverage.observed) == (Verdict.CLEAN, 13)


async def test_a_node_that_joins_and_that_nobody_takes_up_is_no_clean_fleet() -> None:
    """The same as if it had been registered a moment before the sweep."""
    after = fleet().node("n99", "10.0.0.99")
    alone = changed(after, lambda mesh: [mesh.lacks(f"n{number:02}", "n99") for number in range(2, 14)])
    report = await swept(fleet(), alone, after, alone)
    assert standing(report) == [("missing-peer", "n99")]


async def test_a_node_that_leaves_in_good_order_leaves_a_clean_fleet() -> None:
    """Its server is off when it is asked once more."""
    before, after = fleet().node("n99", "10.0.0.99"), fleet()
    report = await swept(before, before, after, after)
    assert report.verdict is Verdict.CLEAN
    assert report.gaps == ()


async def test_what_moved_and_is_not_looked_at_again_is_not_clean() -> None:
    """`--no-confirm`: nobody is asked twice."""
    after = registered(fleet(), "n02", addresses=prefixes(["10.0.0.99"]))
    report = await swept(fleet(), fleet(), after, options=NO_SECOND)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert names(report.in_flight) == ["n02"]


# -- what stands, and what is over


async def test_a_key_rotation_that_is_over_before_the_second_look_is_no_finding() -> None:
    """Half of the observers had the new key when they were asked, and the registry followed."""
    before, after = fleet(), rotated(fleet(), "n02", "new")
    half = changed(
        before,
        lambda mesh: [
            mesh.lacks(f"n{number:02}", "n02").peers_with(f"n{number:02}", "new", "10.0.0.2")
            for number in range(3, 8)
        ],
    )
    report = await swept(before, half, before, after, after, after)
    assert standing(report) == []
    assert report.verdict is Verdict.CLEAN


async def test_a_split_that_ended_everywhere_is_gone_although_only_few_were_asked_first() -> None:
    """Many observers showed it: the first few came round, so the others are asked too."""
    after = fleet(30)
    split = changed(
        after, lambda mesh: [mesh.peers_with(f"n{number:02}", "n02", "10.0.0.3") for number in range(5, 32)]
    )
    registry, nodes = moving(split, split, after, after)
    report = judge(await look(registry, nodes, AT_ONCE))
    assert "split-routing" in {finding.check for finding in report.findings if finding.confirmed is False}
    assert report.verdict is Verdict.CLEAN
    assert all(nodes.asked[NodeId("dc1", f"n{number:02}")] >= 2 for number in range(5, 32))


async def test_a_peer_that_arrives_everywhere_between_the_looks_is_not_unregistered() -> None:
    """Nor missing. The first look found something else, or nobody would have looked again."""
    before = fleet().empties("n03", "n04")
    after = changed(before, lambda mesh: mesh.node("n99", "10.0.0.99"))
    report = await swept(before, before, before, after, after)
    assert standing(report) == [("displaced-allowed-ips", "10.0.0.4 of n04")]


async def test_a_peer_that_leaves_everywhere_between_the_looks_is_not_missing() -> None:
    """Nor unregistered."""
    before = fleet().node("n99", "10.0.0.99").empties("n03", "n04")
    after = fleet().empties("n03", "n04")
    report = await swept(before, before, before, after, after)
    assert standing(report) == [("displaced-allowed-ips", "10.0.0.4 of n04")]


async def test_a_few_observers_that_show_the_same_again_speak_for_all() -> None:
    """Where nothing moved, nobody else is asked twice."""
    mesh = fleet(40)
    for number in range(10, 42):
        mesh.empties(f"n{number:02}", "n02")
    registry, nodes = moving(mesh)
    report = judge(await look(registry, nodes, AT_ONCE))
    assert [finding.confirmed for finding in report.findings] == [True]
    assert sum(times > 1 for times in nodes.asked.values()) == 4


async def test_what_comes_up_at_the_second_look_is_looked_at_once_more() -> None:
    """And stands if it is there again."""
    before, after = fleet().empties("n03", "n04"), fleet().holds("n03", "10.0.0.99")
    report = await swept(before, before, before, after)
    assert {(item.check, item.confirmed) for item in report.findings} == {
        ("displaced-allowed-ips", False),
        ("address-drift", True),
    }


async def test_peers_endpoints_that_change_at_each_look_unsettle_nothing() -> None:
    """`--endpoints`: a peer that roams is heard from elsewhere each time, and decides nothing."""
    before, after = fleet().empties("n03", "n04"), fleet().holds("n03", "10.0.0.99")
    registry, nodes = moving(before, before, before, after)
    asked = nodes.observe

    async def roaming(registration: Registration, tables: TableStore) -> Observation:
        seen = await asked(registration, tables)
        return replace(seen, endpoints={key_of("n05"): f"198.18.0.9:{nodes.asked[registration.node]}"})

    nodes.observe = roaming  # type: ignore[method-assign]
    report = judge(await look(registry, nodes, AT_ONCE))
    assert standing(report) == [("address-drift", "n03")]


async def test_what_comes_up_at_the_last_look_is_not_said_and_not_clean() -> None:
    """Something else at each look: the time is up before it holds still."""
    moments = [fleet()]
    for number in range(ROUNDS + 1):
        moments += [fleet().empties("n03", f"n{number + 4:02}"), fleet()]
    report = await swept(*moments)
    assert standing(report) == []
    assert report.verdict is Verdict.INCONCLUSIVE
    (gap,) = report.gaps
    assert gap.reason is GapReason.UNSETTLED
    assert "displaced-allowed-ips 10.0.0.7 of n07" in gap.detail
    assert "n03" in names(report.in_flight)


async def test_an_observer_that_is_not_reached_again_leaves_its_finding_unconfirmed() -> None:
    """What it showed first is the latest that is known of it."""
    before = fleet().empties("n03", "n04")
    report = await swept(before, before, before, changed(before, lambda mesh: mesh.not_seen("n03")))
    (finding,) = report.findings
    assert finding.confirmed is None
    assert report.verdict is Verdict.FINDINGS


async def test_a_registry_that_cannot_be_read_again_is_a_gap_and_takes_nothing_back() -> None:
    mesh = fleet().empties("n03", "n04")
    whole = reading(mesh)
    down = replace(whole, registrations=(), gaps=tuple(Mesh().gap(GapReason.CONSUL_TIMEOUT).gaps))
    report = judge(await look(MemoryRegistry(whole, whole, down), MemoryNodes(mesh), AT_ONCE))
    assert standing(report) == [("displaced-allowed-ips", "10.0.0.4 of n04")]
    assert [gap.reason for gap in report.gaps] == [GapReason.CONSUL_TIMEOUT]


# -- drawn from what stands


def ghosts(count: int, size: int = 12, memory: Memory | None = None) -> Snapshot:
    """A fleet with so many peers on its devices that nobody registered."""
    mesh = fleet(size)
    for number in range(count):
        mesh.peers_with("n03", f"ghost {number}", f"10.0.7.{number}")
    return replace(mesh.snapshot(), memory=memory or Memory())


def suspected(snapshot: Snapshot) -> bool:
    """Whether the registry is suspected to have been read in part."""
    return GapReason.REGISTRY_SUSPECT in {gap.reason for gap in judge(snapshot).gaps}


def test_two_ghosts_do_not_make_the_registry_suspect_however_small_the_fleet() -> None:
    """A laptop's peer is no filtered registry."""
    assert not suspected(ghosts(2, size=4))
    assert suspected(ghosts(3, size=4))


def test_three_ghosts_of_a_large_fleet_do_not_make_the_registry_suspect() -> None:
    """Three of 63 keys are less than one in twenty."""
    assert not suspected(ghosts(3, size=60))


def test_ghosts_that_were_told_before_make_the_registry_suspect_no_more() -> None:
    """Of those there must be as many new ones."""
    told = Memory(ghosts=frozenset(key_of(f"ghost {number}") for number in range(4)))
    assert not suspected(ghosts(6, memory=told))
    assert suspected(ghosts(7, memory=told))


async def test_ghosts_that_were_gone_on_the_second_look_do_not_make_the_registry_suspect() -> None:
    """It is drawn from what stands."""
    before = fleet()
    for number in range(5):
        before.peers_with("n03", f"ghost {number}", f"10.0.7.{number}")
    report = await swept(before, before, before, fleet())
    assert report.gaps == ()
    assert report.verdict is Verdict.CLEAN
