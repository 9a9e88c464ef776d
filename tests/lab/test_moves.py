"""What stands on a mesh is told, and what is over or agreed on is not: one mesh, moved before and during sweeps."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from auditor.values.models import Memory, NodeId
from auditor.values.report import Report, Verdict
from tests.alerts.incidents import Watch
from tests.lab.answers import network
from tests.lab.cases import standby
from tests.lab.mesh import Lab, wait_until
from tests.lab.test_mesh import in_its_namespace
from tests.lab.topology import LISTEN_PORT, PREFIX, Node, host
from tests.lab.watched import (
    BEFORE_EACH_READING,
    BETWEEN_LOOKS,
    gone,
    looked_at,
    only,
    roots,
    sweep_while,
)
from tests.parts.consul import consul_binary

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
SPARE = "spare-fra-1"
PLANTED = "edge-nrt-1"
OWNER = "edge-sin-1"
OWNED = "10.20.0.12"


@pytest.fixture(scope="module")
def lab(lab_parts: None) -> Iterator[Lab]:
    """Bring up six nodes, and a seventh that nobody knows yet."""
    with Lab(standby()) as up:
        yield up


# -- the registry


def put(lab: Lab, label: str, **fields: object) -> None:
    """Writes a node's registration with these fields in place of its own; without any it is as it was."""
    document = json.loads(lab.topology.registration(lab.topology.node(label)))
    lab.consuls["dc1"].put(PREFIX + label, json.dumps(document | fields).encode())


@contextlib.contextmanager
def registered(lab: Lab, label: str, **fields: object) -> Iterator[None]:
    """Inside of it the node's registration has these fields."""
    put(lab, label, **fields)
    try:
        yield
    finally:
        if lab.topology.node(label).registered:
            put(lab, label)
        else:
            lab.consuls["dc1"].delete(PREFIX + label)


@contextlib.contextmanager
def consul_lock(lab: Lab, *options: str) -> Iterator[None]:
    """Inside of it `consul lock` holds the prefix of the registrations."""
    lock = [
        str(consul_binary()),
        "lock",
        f"-http-addr={lab.consuls['dc1'].url}",
        *options,
        PREFIX.rstrip("/"),
    ]
    with subprocess.Popen(
        [*lab.prefix, *lock, "echo held && exec sleep 600"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.terminate()
    lab.consuls["dc1"].delete(
        f"{PREFIX}.lock"
    )  # it stays, held by nobody; a semaphore would not take it over


# -- peers


def take_in(lab: Lab, node: Node, *observers: str, further: str = "", key: str = "") -> None:
    """These observers have the node as a peer, with its address (and a further one) and its key (or another)."""
    words = ("endpoint", f"{lab.topology.underlay(node)}:{LISTEN_PORT}")
    allowed = ("allowed-ips", ",".join(host(each) for each in (node.address, further) if each))
    for observer in observers:
        lab.on(observer, "wg", "set", "wg0", "peer", key or lab.topology.public_key(node), *words, *allowed)


def leave_out(lab: Lab, key: str, *observers: str) -> None:
    """These observers have no such peer."""
    for observer in observers:
        lab.on(observer, "wg", "set", "wg0", "peer", key, "remove")


def others(lab: Lab, label: str) -> tuple[str, ...]:
    """All who should have the node as a peer."""
    return tuple(node.label for node in lab.topology.nodes if node.label not in (label, SPARE))


# -- addresses and links


@contextlib.contextmanager
def own_address(lab: Lab, label: str, *options: str) -> Iterator[None]:
    """Inside of it the node's own address is there with these options of `ip addr add`."""
    address = lab.topology.node(label).address
    lab.on(label, "ip", "addr", "del", host(address), "dev", "wg0")
    lab.on(label, "ip", "addr", "add", address, "dev", "wg0", *options)
    try:
        yield
    finally:
        lab.on(label, "ip", "addr", "del", host(address), "dev", "wg0")
        lab.on(label, "ip", "addr", "add", address, "dev", "wg0")
        with_routes(lab, label)


@contextlib.contextmanager
def further_address(lab: Lab, label: str, address: str, *options: str) -> Iterator[None]:
    """Inside of it the node's device holds this address, too."""
    lab.on(label, "ip", "addr", "add", address, "dev", "wg0", *options)
    try:
        yield
    finally:
        lab.on(label, "ip", "addr", "del", host(address), "dev", "wg0")


def with_routes(lab: Lab, label: str) -> None:
    """Sets the routes of the pools, which a device loses with its link or its last address."""
    for pool in lab.topology.pools:
        lab.on(label, "ip", "route", "replace", pool, "dev", "wg0")


def test_a_link_that_is_down_is_told_and_leads_whatever_follows(lab: Lab) -> None:
    lab.on(OWNER, "ip", "link", "set", "wg0", "down")
    try:
        report = looked_at(lab)
    finally:
        lab.on(OWNER, "ip", "link", "set", "wg0", "up")
        with_routes(lab, OWNER)

    assert roots(report) == {("device-down", OWNER)}
    assert looked_at(lab).verdict is Verdict.CLEAN


def test_a_nodes_own_address_with_scope_link_is_its_address(lab: Lab) -> None:
    with own_address(lab, OWNER, "scope", "link"):
        assert looked_at(lab).verdict is Verdict.CLEAN


def test_anothers_address_with_scope_link_is_a_duplicate(lab: Lab) -> None:
    with further_address(lab, PLANTED, OWNED, "scope", "link"):
        report = looked_at(lab)

    finding = only(report, "duplicate-address")
    assert (finding.subject, {node.name for node in finding.nodes}) == (OWNED, {OWNER, PLANTED})


@pytest.mark.parametrize(
    "odd",
    [{"ip": f"{OWNED}/16"}, {"region": 7}, {"endpoint": "nowhere:no-port"}, {"public_key": "none"}],
    ids=["interface notation", "region", "endpoint", "key"],
)
def test_a_registration_with_an_odd_field_hides_no_duplicate_and_no_node(
    lab: Lab, odd: dict[str, object]
) -> None:
    """Its address is claimed whatever else it says, and its node is asked."""
    with registered(lab, PLANTED, **({"ip": OWNED} | odd)):
        report = looked_at(lab)

    finding = only(report, "duplicate-address")
    assert (finding.subject, {node.name for node in finding.nodes}) == (OWNED, {OWNER, PLANTED})
    assert NodeId("dc1", PLANTED) in report.observed


@pytest.mark.parametrize("options", [(), ("-n=2",)], ids=["lock", "semaphore"])
def test_a_lock_on_the_registry_that_is_held_during_a_sweep_is_counted_and_not_judged(
    lab: Lab, options: tuple[str, ...]
) -> None:
    with consul_lock(lab, *options):
        report = looked_at(lab)

    assert (report.verdict, report.findings, report.gaps) == (Verdict.CLEAN, (), ())
    assert report.coverage.registered == 6
    assert report.others.total > 0


def test_a_retired_node_gives_its_address_free_and_is_told_where_it_is_live(lab: Lab) -> None:
    """The address is another's now; the key counts as soon as one observer has it."""
    spare = lab.topology.node(SPARE)
    with registered(lab, SPARE, ip=OWNED, state="decommissioned"):
        report = looked_at(lab)
        assert (report.verdict, report.findings) == (Verdict.CLEAN, ())
        assert report.coverage.registered == 6

        take_in(lab, spare, "edge-fra-1")
        try:
            assert roots(looked_at(lab)) == {("retired-but-live", SPARE)}
        finally:
            leave_out(lab, lab.topology.public_key(spare), "edge-fra-1")


def test_a_key_rotation_that_is_over_before_the_second_look_is_no_standing_finding(lab: Lab) -> None:
    """The first look sees it half done: two observers have the new key, three the old one."""
    node = lab.topology.node(OWNER)
    rotated = replace(node, live_key="rotated")
    old, new = lab.topology.public_key(node), lab.topology.public_key(rotated)
    folder = lab.node_folder(OWNER)
    lab.write(f"{folder.name}/rotated.key", lab.topology.private_key(rotated) + "\n")
    observers = others(lab, OWNER)

    def rotate(away: str, key: str, *observers: str) -> None:
        leave_out(lab, away, *observers)
        take_in(lab, node, *observers, key=key)

    lab.on(OWNER, "wg", "set", "wg0", "private-key", str(folder / "rotated.key"))
    try:
        with registered(lab, OWNER, public_key=new):
            rotate(old, new, *observers[:2])
            report = sweep_while(lab, {BETWEEN_LOOKS: lambda: rotate(old, new, *observers[2:])})
    finally:
        lab.on(OWNER, "wg", "set", "wg0", "private-key", str(folder / "private.key"))
        rotate(new, old, *observers)

    assert (report.verdict, report.standing) == (Verdict.CLEAN, ())
    assert {"missing-peer", "split-routing"} & gone(report)


def test_a_peer_that_arrives_everywhere_between_the_looks_is_not_missing(lab: Lab) -> None:
    spare = lab.topology.node(SPARE)
    everybody = others(lab, SPARE)
    with registered(lab, SPARE):
        report = sweep_while(lab, {BETWEEN_LOOKS: lambda: take_in(lab, spare, *everybody)})
    leave_out(lab, lab.topology.public_key(spare), *everybody)

    assert (report.verdict, report.standing) == (Verdict.CLEAN, ())
    assert "missing-peer" in gone(report)


def test_a_peer_that_leaves_everywhere_between_the_looks_is_not_unregistered(lab: Lab) -> None:
    spare = lab.topology.node(SPARE)
    key, everybody = lab.topology.public_key(spare), others(lab, SPARE)
    take_in(lab, spare, *everybody)
    report = sweep_while(lab, {BETWEEN_LOOKS: lambda: leave_out(lab, key, *everybody)})

    assert (report.verdict, report.standing) == (Verdict.CLEAN, ())
    assert "unregistered-peer" in gone(report)


def test_a_node_that_is_registered_and_taken_in_during_the_sweep_is_looked_at_and_no_finding(
    lab: Lab,
) -> None:
    """It stands in the second reading only."""
    spare = lab.topology.node(SPARE)
    everybody = others(lab, SPARE)

    def join() -> None:
        put(lab, SPARE)
        take_in(lab, spare, *everybody)

    try:
        report = sweep_while(lab, {BEFORE_EACH_READING: join})
    finally:
        lab.consuls["dc1"].delete(PREFIX + SPARE)
        leave_out(lab, lab.topology.public_key(spare), *everybody)

    assert (report.verdict, report.standing, report.in_flight) == (Verdict.CLEAN, (), ())
    assert (report.coverage.registered, report.coverage.observed) == (7, 7)


def test_an_address_that_changes_before_each_reading_is_unsettled_and_a_finding_in_the_second_sweep(
    lab: Lab,
) -> None:
    """A provisioner that crashes and begins anew; never clean."""
    addresses = (f"10.20.1.{number}" for number in itertools.count(1))
    changes = {BEFORE_EACH_READING: lambda: put(lab, PLANTED, ip=next(addresses))}
    with registered(lab, PLANTED):
        first = sweep_while(lab, changes)
        second = sweep_while(lab, changes, memory=Memory(unsettled=frozenset(first.in_flight)))

    assert (first.verdict, first.standing) == (Verdict.INCONCLUSIVE, ())
    assert first.in_flight == (NodeId("dc1", PLANTED),)
    assert {gap.reason.value for gap in first.gaps} == {"unsettled"}
    assert roots(second) == {("unsettled-registration", PLANTED)}


def test_a_heartbeat_in_a_registration_keeps_nothing_from_being_judged(lab: Lab) -> None:
    """It changes before each reading; its node's device holds another's address."""
    beats = itertools.count()
    with registered(lab, PLANTED), further_address(lab, PLANTED, OWNED):
        report = sweep_while(lab, {BEFORE_EACH_READING: lambda: put(lab, PLANTED, updated_at=next(beats))})

    assert only(report, "duplicate-address").subject == OWNED
    assert (report.in_flight, report.gaps) == ((), ())


@pytest.mark.parametrize("script", ["exec sleep 600", "trap '' TERM; sleep 600 & wait", "exec yes"])
def test_a_wg_that_does_not_end_leaves_nothing_on_the_node_after_the_sweep(lab: Lab, script: str) -> None:
    """Neither the probe nor what it started; the node is a gap."""
    folder = lab.node_folder(OWNER)
    lab.write(f"{folder.name}/stuck-wg", f"#!/bin/sh\n{script}\n")
    (folder / "stuck-wg").chmod(0o755)
    before = running_on(lab, OWNER)
    lab.on(OWNER, "mount", "--bind", str(folder / "stuck-wg"), "/usr/bin/wg")
    try:
        report = looked_at(lab, ssh="command_timeout = 1.0")
        wait_until(lambda: running_on(lab, OWNER) <= before, "the probe to be gone")
    finally:
        lab.on(OWNER, "umount", "/usr/bin/wg")

    assert {gap.node for gap in report.gaps} == {OWNER}
    assert report.verdict is Verdict.INCONCLUSIVE


def running_on(lab: Lab, label: str) -> set[int]:
    """The processes in a node's network."""
    wanted = network(lab.node_folder(label), lab.control_pid).stat().st_ino
    found = set()
    for pid in in_its_namespace(lab.control_pid):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if Path(f"/proc/{pid}/ns/net").stat().st_ino == wanted:
                found.add(pid)
    return found


def test_two_agents_that_fight_over_one_route_are_one_incident_and_page_twice_an_hour(lab: Lab) -> None:
    """Each gives the address to another peer; every other sweep sees it where it belongs."""
    mine, other = lab.topology.node(OWNER), lab.topology.node("worker-sin-1")

    def fight(winner: Callable[[], None]) -> Report:
        winner()
        return looked_at(lab)

    taken = fight(lambda: take_in(lab, other, "edge-fra-1", further=OWNED))
    take_in(lab, other, "edge-fra-1")
    given_back = fight(lambda: take_in(lab, mine, "edge-fra-1"))
    assert (bool(taken.standing), given_back.verdict) == (True, Verdict.CLEAN)

    watch = Watch()
    told = [
        item
        for _ in range(30)
        for seen in (taken, given_back)
        for item in watch.sweep(seen, after=timedelta(minutes=1)).notifications
    ]
    assert len({item.incident.fingerprint for item in told}) == 1
    pages = [item.reason.value for item in told if item.status.value == "firing"]
    assert (len(pages), pages[-1]) == (2, "flapping")


def test_a_clone_that_no_address_shows_is_told_by_where_it_is_met(lab: Lab) -> None:
    """The spare server comes up with another node's key: two observers meet that key there, the others where it is."""
    node, spare = lab.topology.node(OWNER), lab.topology.node(SPARE)
    at = f"{lab.topology.public_key(node)}\t{lab.topology.underlay(spare)}:{LISTEN_PORT}\n"
    observers = ("worker-fra-1", "worker-nrt-1")
    seen: list[Report] = []

    def keep_alive(seconds: int) -> None:
        for label in observers:
            key = lab.topology.public_key(lab.topology.node(label))
            lab.on(SPARE, "wg", "set", "wg0", "peer", key, "persistent-keepalive", str(seconds))

    lab.on(SPARE, "wg", "set", "wg0", "private-key", str(lab.node_folder(OWNER) / "private.key"))
    try:
        keep_alive(1)
        wait_until(
            lambda: all(at in lab.on(label, "wg", "show", "wg0", "endpoints") for label in observers),
            "the clone to be met",
        )
        # Node and clone take the key's place at an observer from each other: a look may meet one of them alone.
        wait_until(
            lambda: seen.append(looked_at(lab, ssh="endpoints = true")) or bool(seen[-1].standing),
            "both to be met by a sweep",
        )
    finally:
        lab.on(SPARE, "wg", "set", "wg0", "private-key", str(lab.node_folder(SPARE) / "private.key"))
        keep_alive(25)
        take_in(lab, node, *observers)

    (*_, report) = seen
    assert roots(report) == {("several-endpoints", lab.topology.public_key(node))}
    assert {item.name for item in only(report, "several-endpoints").nodes} == {OWNER}
