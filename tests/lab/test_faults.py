"""Every planted fault stands in the report under its ident, and nothing else leads an incident."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.lab.cases import CASES
from tests.lab.change import change
from tests.lab.mesh import Lab
from tests.lab.sweeps import Sweep
from tests.lab.topology import Topology

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]


class Seen:
    """A case and the sweep of it; its mesh is down again."""

    def __init__(self, topology: Topology, sweep: Sweep) -> None:
        self.topology = topology
        self.sweep = sweep

    def key(self, label: str) -> str:
        """The key that a node's device holds."""
        return self.topology.public_key(self.topology.node(label))


@pytest.fixture(scope="module")
def routes(lab_parts: None) -> Seen:
    """An exit gateway, a local network behind a node, and an address that nobody registered."""
    return swept("routes")


def swept(case: str) -> Seen:
    topology = CASES[case]()
    with Lab(topology) as lab:
        return Seen(topology, lab.sweep())


@pytest.fixture(scope="module")
def drift(lab_parts: None) -> Seen:
    """Registry and fleet disagree."""
    return swept("drift")


@pytest.fixture(scope="module")
def faults(lab_parts: None) -> Seen:
    """Addresses where they should not be."""
    return swept("faults")


@pytest.fixture(scope="module")
def clones(lab_parts: None) -> Seen:
    """One key on two servers."""
    return swept("clones")


@pytest.fixture(scope="module")
def unseen(lab_parts: None) -> Seen:
    """Nodes that cannot be looked at."""
    return swept("unseen")


def test_drift_ghost_missing_peer_and_region_mismatch_are_found_and_nothing_else(drift: Seen) -> None:
    """Each of the five planted faults leads one finding of its own."""
    assert drift.sweep.code == 1, drift.sweep.stderr
    assert drift.sweep.roots() == {
        ("address-drift", "edge-sin-1"),
        ("key-drift", "edge-nrt-1"),
        ("region-mismatch", "worker-fra-1"),
        ("unregistered-peer", drift.key("ghost-nrt-1")),
        ("missing-peer", "edge-fra-1"),
    }


def test_address_drift_names_both_addresses(drift: Seen) -> None:
    """The registered one and the one that the device holds."""
    (finding,) = drift.sweep.findings("address-drift")

    assert "10.20.0.12" in finding["summary"]
    assert "10.20.0.112" in finding["summary"]


def test_key_drift_names_both_keys(drift: Seen) -> None:
    """The registered one and the one that the device holds."""
    (finding,) = drift.sweep.findings("key-drift")

    assert drift.key("edge-nrt-1") in finding["summary"]
    assert drift.topology.registered_key(drift.topology.node("edge-nrt-1")) in finding["summary"]


def test_the_ghost_is_seen_by_every_observer_with_its_address(drift: Seen) -> None:
    """Six registered nodes have it as a peer."""
    (finding,) = drift.sweep.findings("unregistered-peer")

    assert finding["evidence"]["observers"] == 6
    assert {claim["address"] for claim in finding["evidence"]["claims"]} == {"10.20.0.99/32"}


def test_one_ghost_says_nothing_against_our_view_of_the_registry(drift: Seen) -> None:
    """A token that sees a part of it hides more than one."""
    assert drift.sweep.gaps() == set()


def test_the_observer_that_lacks_a_peer_is_named(drift: Seen) -> None:
    """One observer, and which."""
    (finding,) = drift.sweep.findings("missing-peer")

    assert (finding["evidence"]["observers"], finding["evidence"]["sample"]) == (1, ["worker-sin-1"])


def test_misplaced_addresses_and_broken_registrations_are_found_and_nothing_else(faults: Seen) -> None:
    """Each planted fault leads one finding of its own."""
    assert faults.sweep.code == 1, faults.sweep.stderr
    assert faults.sweep.roots() == {
        ("self-routed-address", "10.20.1.14 on worker-fra-1"),
        ("displaced-allowed-ips", "10.20.3.13 of edge-nrt-1"),
        ("overlapping-allowed-ips", "0.0.0.0/0 of edge-fra-1"),
        ("unregistered-allowed-ips", "10.20.2.0/24 of edge-fra-1"),
        ("fallback-address", "10.0.0.1"),
        ("outside-pool", "192.168.7.7"),
        ("outside-pool", "10.255.255.255"),
        *(("invalid-registration", f"broken-fra-{number}") for number in (1, 2, 3, 4)),
        # The keys of these two can be read, and so are expected in tables.
        *(("missing-peer", f"broken-fra-{number}") for number in (3, 4)),
    }


def test_an_invalid_registration_counts_as_a_node_that_was_not_seen(faults: Seen) -> None:
    """Seven of eleven: what cannot be read is not left out of the coverage."""
    coverage = faults.sweep.report["coverage"]

    assert (coverage["registered"], coverage["observed"]) == (11, 7)


def test_the_overlap_names_what_a_route_has_taken(faults: Seen) -> None:
    """The node that lacks edge-sin-1 sends its address to the exit; the /24 beside a longer prefix takes nothing."""
    (finding,) = faults.sweep.findings("overlapping-allowed-ips")

    assert "10.20.2.12" in finding["summary"]
    assert finding["evidence"]["sample"] == ["worker-sin-1"]


def test_a_route_that_nobody_registered_is_found_and_an_exit_and_a_local_network_are_not(
    routes: Seen,
) -> None:
    """Five observers give the node an address in the pool; the default route takes from nobody."""
    assert routes.sweep.code == 1, routes.sweep.stderr
    assert routes.sweep.subjects("unregistered-allowed-ips") == {"10.20.7.7 of edge-nrt-1"}
    assert len(routes.sweep.report["findings"]) == 1
    assert routes.sweep.report["findings"][0]["evidence"]["observers"] == 5


def test_a_cloned_image_and_a_key_registered_twice_are_found(clones: Seen) -> None:
    """One finding for each key, with both its nodes."""
    assert clones.sweep.code == 1, clones.sweep.stderr
    found = {
        finding["subject"]: finding["nodes"] for finding in clones.sweep.findings("duplicate-public-key")
    }
    assert found == {
        clones.key("edge-fra-1"): ["edge-fra-1", "edge-sin-1"],
        clones.key("edge-nrt-1"): ["edge-nrt-1", "worker-nrt-1"],
    }


def test_a_cloned_image_is_guessed_only_where_two_devices_hold_the_key(clones: Seen) -> None:
    """A key that was registered twice, but is on one device, is no cloned image."""
    causes = {
        each["subject"]: each["probable_cause"] for each in clones.sweep.findings("duplicate-public-key")
    }

    assert causes[clones.key("edge-fra-1")] == "cloned-image"
    assert causes[clones.key("edge-nrt-1")] != "cloned-image"


def test_what_follows_from_a_shared_key_is_no_page_of_its_own(clones: Seen) -> None:
    """Only the node whose own key is not the registered one leads a finding beside the two."""
    assert clones.sweep.roots() == {
        ("duplicate-public-key", clones.key("edge-fra-1")),
        ("duplicate-public-key", clones.key("edge-nrt-1")),
        ("key-drift", "worker-nrt-1"),
    }


def test_every_node_that_was_not_seen_is_a_gap_with_its_own_reason(unseen: Seen) -> None:
    """Refused, unknown host key, key not accepted, no device, no wg, and another server's answer."""
    assert unseen.sweep.gaps() == {
        ("down-sin-1", "connect-refused"),
        ("stranger-sin-1", "host-key"),
        ("locked-fra-1", "auth"),
        ("bare-fra-1", "no-device"),
        ("toolless-sin-1", "no-wg"),
        ("wrong-fra-1", "wrong-host"),
    }
    assert unseen.sweep.report["coverage"]["observed"] == 2


def test_landing_on_the_wrong_server_is_a_finding_that_names_both(unseen: Seen) -> None:
    """The registration of one leads to the other, whose device says who it is."""
    assert unseen.sweep.code == 1, unseen.sweep.stderr
    assert unseen.sweep.roots() == {("wrong-host", "wrong-fra-1")}
    (finding,) = unseen.sweep.findings("wrong-host")
    assert finding["nodes"] == ["wrong-fra-1", "edge-sin-1"]


def test_two_nodes_with_one_ipv6_address_are_found_however_it_is_spelled(lab_parts: None) -> None:
    """The registry says fdaa::7 once and FDAA:0:0::0007 once; observers disagree."""
    seen = swept("ipv6")

    assert seen.sweep.code == 1, seen.sweep.stderr
    assert seen.sweep.roots() == {("duplicate-address", "fdaa::7")}
    (finding,) = seen.sweep.findings("duplicate-address")
    observers = ["worker-fra-1", "worker-sin-1", "worker-nrt-1"]
    assert {pick["public_key"]: pick["observers"] for pick in finding["evidence"]["routing"]} == {
        key: len(picks) for key, picks in seen.topology.routing("fdaa::7", observers).items()
    }


def test_a_duplicate_across_two_datacenters_is_found_and_one_that_is_down_makes_nothing_of_its_nodes(
    lab_parts: None,
) -> None:
    """Two Consul servers, one mesh: neither datacenter shows it alone. Afterwards: repaired, and one is down."""
    topology = CASES["datacenters"]()
    with Lab(topology) as lab:
        sweep = lab.sweep()
        moved = (
            replace(node, address="10.30.0.9") if node.label == "worker-sin-1@dc2" else node
            for node in topology.nodes
        )
        change(lab, replace(topology, nodes=tuple(moved), contests=()))
        lab.consuls["dc2"].stop()
        lab.write("impatient.toml", lab.config.read_text().replace("timeout = 5.0", "timeout = 2.0", 1))
        half = lab.sweep("--config", str(lab.folder / "impatient.toml"))

    assert sweep.code == 1, sweep.stderr
    assert sweep.report["gaps"] == []
    assert sweep.roots() == {("duplicate-address", "10.20.0.9"), ("duplicate-node-name", "edge-fra-1")}
    (finding,) = sweep.findings("duplicate-address")
    assert finding["nodes"] == ["worker-fra-1", "worker-sin-1"]
    assert finding["probable_cause"] is None  # indexes of two clusters do not compare
    (repeated,) = sweep.findings("duplicate-node-name")
    assert repeated["nodes"] == ["edge-fra-1@dc1", "edge-fra-1@dc2"]

    assert (half.code, half.report["findings"]) == (3, []), half.stderr
    (gap,) = half.report["gaps"]
    assert (gap["source"], gap["datacenter"]) == ("consul", "dc2")
    assert "3 keys on devices may be registered there" in gap["detail"]


def test_a_token_that_sees_half_of_the_registry_never_gives_clean(lab_parts: None) -> None:
    """Consul leaves the rest out without a word; the nodes' own peers give it away."""
    seen = swept("acl")

    assert seen.sweep.code in (1, 3), seen.sweep.stderr
    assert seen.sweep.report["verdict"] != "clean"
    assert (None, "registry-suspect") in seen.sweep.gaps()
    assert seen.sweep.subjects("unregistered-peer") == {
        seen.key(label) for label in ("worker-fra-1", "worker-sin-1", "worker-nrt-1")
    }
