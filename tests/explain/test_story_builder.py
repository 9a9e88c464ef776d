"""What a target means, and what its story holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from auditor.documents.sections import known_idents
from auditor.errors import GapReason, UsageError
from auditor.explain.story import Story
from auditor.explain.story_builder import explain
from auditor.explain.targets import refuse_mistyped_ident
from auditor.judge import judge
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.findings import Pick, Witness
from auditor.values.models import Gap, InvalidRegistration, NodeId, Registration, Snapshot
from tests.fleets import Mesh, contested, healthy
from tests.reports import fleet
from tests.reports.sample import key


def told(target: str, snapshot: Snapshot | None = None) -> Story:
    """The story of the target in the sample fleet."""
    seen = snapshot or fleet.snapshot()
    return explain(seen, judge(seen), target)


def names(pick: Pick) -> list[str]:
    """The observers that a pick names."""
    return [node.name for node in pick.sample]


def test_an_address_is_told_with_its_claims_and_their_consul_indexes() -> None:
    """By registration and by device, from each claimant."""
    story = told("10.0.0.1")
    assert story.kind == "address"
    assert story.headline == "10.0.0.1 is claimed by 2 nodes: edge-fra-1 (fra), edge-sin-1 (sin)"
    registered = [claim for claim in story.claims if claim.witness is Witness.REGISTERED]
    assert {claim.where: (claim.create_index, claim.modify_index) for claim in registered} == {
        "wireguard/nodes/edge-fra-1": (4712, 4714),
        "wireguard/nodes/edge-sin-1": (4711, 4713),
    }
    assert sum(claim.witness is Witness.DEVICE for claim in story.claims) == 2


def test_an_address_is_told_with_every_observer_and_where_it_routes() -> None:
    """Few observers are all named; those that hold the address themselves are none."""
    (routing,) = told("10.0.0.1").routing
    to = {pick.node.name: pick for pick in routing.picks if pick.node}
    assert names(to["edge-fra-1"]) == ["worker-fra-1", "worker-fra-2"]
    assert names(to["edge-sin-1"]) == ["worker-nrt-1", "worker-nrt-2", "worker-sin-1", "worker-sin-2"]
    assert to["edge-sin-1"].regions == {"nrt": 2, "sin": 2}


def test_the_story_and_the_report_count_alike() -> None:
    """Two answers to one question would be worse than none."""
    snapshot = fleet.snapshot()
    finding = next(item for item in judge(snapshot).findings if item.check == "duplicate-address")
    (routing,) = told("10.0.0.1").routing
    assert [(pick.public_key, pick.observers, pick.regions) for pick in routing.picks] == [
        (pick.public_key, pick.observers, pick.regions) for pick in finding.evidence.routing
    ]


@pytest.mark.parametrize("target", ["10.0.0.1", "10.0.0.1/32", " 10.0.0.1 "])
def test_an_address_is_understood_with_and_without_its_length(target: str) -> None:
    """As values, not as text."""
    assert told(target).target == "10.0.0.1"


def test_an_address_that_one_node_holds_is_told_too() -> None:
    """Nothing wrong is an answer."""
    story = told("10.0.1.2")
    assert story.headline == "10.0.1.2 is claimed by worker-sin-1 (sin) alone"
    assert story.findings == ()


def test_an_address_that_is_only_routed_is_told() -> None:
    """A ghost's address: nobody that was seen claims it, yet observers send there."""
    story = told("10.0.9.9")
    assert story.claims == ()
    assert story.routing[0].picks[0].public_key == fleet.GHOST
    assert {finding.check for finding in story.findings} == {"unregistered-peer"}


@pytest.mark.parametrize("target", ["edge-sin-1", "edge-sin-1@dc1"])
def test_a_node_is_told_with_its_registration_its_device_and_its_findings(target: str) -> None:
    """By its name alone, or with its datacenter."""
    story = told(target)
    assert story.kind == "node"
    assert [item.where for item in story.registrations] == ["wireguard/nodes/edge-sin-1"]
    assert [item.device.public_key for item in story.observations] == [key("edge-sin-1")]
    assert story.findings[0].check == "duplicate-address"


def test_a_node_that_others_show_without_an_address_says_who_they_are() -> None:
    """Traffic is dropped there, which its own side cannot see."""
    assert any(
        note.startswith("3 observers (edge-fra-1, worker-fra-1, worker-fra-2) show it with no allowed-ips")
        for note in told("edge-sin-1").notes
    )


def test_a_node_that_was_not_seen_is_told_with_the_reason_and_what_to_do() -> None:
    """Not seen is not the same as fine."""
    story = told(fleet.UNSEEN)
    assert "not seen" in story.headline
    assert any(gap.node == fleet.UNSEEN for gap in story.gaps)
    assert (
        "Make worker-nrt-3 reachable for the audit (connect-refused), then sweep again." in story.next_steps
    )
    assert not any("Nothing to do" in step for step in story.next_steps)


def test_a_node_whose_registration_cannot_be_read_is_told() -> None:
    """With what stood there."""
    story = told("db-sin-1")
    assert [item.reason for item in story.invalid] == ["not valid JSON"]
    assert "unreadable" in story.headline


@pytest.mark.parametrize("length", [6, 8, 44])
def test_a_key_is_understood_from_its_first_six_characters(length: int) -> None:
    """Where they are unique."""
    story = told(fleet.GHOST[:length])
    assert story.kind == "key"
    assert story.target == fleet.GHOST


@pytest.mark.parametrize("ellipsis", ["…", "..."])
def test_a_key_copied_from_a_report_is_understood_with_its_ellipsis(ellipsis: str) -> None:
    """The report shows `6tbvA9Ye…`; that is what gets pasted."""
    assert told(fleet.GHOST[:8] + ellipsis).target == fleet.GHOST


def test_five_characters_of_a_key_are_too_few() -> None:
    """Too easily another key's."""
    with pytest.raises(UsageError, match="saw no address, node, region, key or finding"):
        told(fleet.GHOST[:5])


def test_a_start_that_two_keys_share_asks_for_more() -> None:
    """It never picks one of them."""
    snapshot = fleet.snapshot()
    first, other = snapshot.registrations[2:4]
    alike = PublicKey(first.public_key[:10] + other.public_key[10:])
    changed = replace(other, public_key=alike)
    registrations = tuple(changed if item is other else item for item in snapshot.registrations)
    with pytest.raises(UsageError, match="2 keys start with"):
        told(first.public_key[:10], replace(snapshot, registrations=registrations))


def test_a_name_in_two_datacenters_asks_which_one() -> None:
    """And names both."""
    snapshot = fleet.snapshot()
    original = snapshot.registrations[2]
    twin: Registration = replace(original, node=NodeId("dc2", original.node.name), public_key=key("twin"))
    doubled = replace(snapshot, registrations=(*snapshot.registrations, twin))
    with pytest.raises(UsageError, match=r"worker-sin-1@dc1.*worker-sin-1@dc2"):
        told("worker-sin-1", doubled)
    assert told("worker-sin-1@dc2", doubled).registrations == (twin,)


def test_an_unknown_target_is_one_line_with_the_nearest_names_and_what_was_seen() -> None:
    """Unseen nodes may hold it: the line says how many there are."""
    with pytest.raises(UsageError) as raised:
        told("worker-nrt-9")
    text = str(raised.value)
    assert "'worker-nrt-9'; it may be there all the same: only 8 of 10 registered nodes seen" in text
    assert "1 gap (worker-nrt-3: connect-refused); nearest known: 'worker-nrt-" in text
    assert "\n" not in text


def test_observers_are_named_in_order() -> None:
    """Of a few and of many; whatever order their tables came in."""
    snapshot = contested().node("watch-d", "10.0.1.100", region="nrt").lacks("watch-d", "twin-sin").snapshot()
    for seen in (snapshot, replace(snapshot, observations=snapshot.observations[::-1])):
        (routing,) = told("10.0.0.9", seen).routing
        assert sorted(map(names, routing.picks)) == [["watch-a", "watch-b"], ["watch-c", "watch-d"]]
    (pick,) = told("10.77.0.0/16", wide()).routing[0].picks
    assert (pick.observers, names(pick)) == (6, sorted(names(pick)))


def wide() -> Snapshot:
    """Every observer sends 10.0.0.0/8 to a stranger, each over another table."""
    mesh = healthy()
    for number, node in enumerate(mesh.registrations):
        mesh.peers_with(node.name, "stranger", "10.0.0.0/8").peers_with(node.name, f"own-{9 - number}")
    return mesh.snapshot()


def test_an_address_that_was_not_seen_is_not_called_free_where_not_all_was_seen() -> None:
    """And says each reason why."""
    with pytest.raises(UsageError) as raised:
        told("10.77.0.1")
    text = str(raised.value)
    assert "do not treat it as free: only 8 of 10 registered nodes seen, 1 registration unreadable, " in text


def test_an_address_is_unknown_without_a_warning_where_everything_was_seen() -> None:
    """The message is then nothing but the fact, and the nearest names."""
    with pytest.raises(UsageError) as raised:
        told("10.77.0.1", healthy().snapshot())
    assert str(raised.value).startswith(
        "explain: the sweep saw no address, node, region, key or finding '10.77.0.1'; nearest known: "
    )


@pytest.mark.parametrize(
    ("reason", "detail"),
    [
        (GapReason.CONSUL_UNREACHABLE, "http://127.0.0.1:8500/v1/kv/: Connection refused"),
        (GapReason.CONSUL_FORBIDDEN, "http://127.0.0.1:8500/v1/kv/: 403 Permission denied"),
    ],
)
def test_an_unread_registry_is_named_with_reason_and_detail(reason: GapReason, detail: str) -> None:
    """Nothing was seen at all: that, and why, is the answer."""
    nothing = replace(
        healthy().snapshot(),
        registrations=(),
        observations=(),
        tables={},
        gaps=(Gap("consul", reason, detail),),
    )
    with pytest.raises(UsageError) as raised:
        told("10.0.0.2", nothing)
    assert f"do not treat it as free: no registration was seen, 1 gap ({reason}: {detail})" in str(
        raised.value
    )


UNREADABLE = InvalidRegistration(
    NodeId("dc1", "db-fra-7"),
    "wireguard/nodes/db-fra-7",
    "public_key: not a public key",
    '{"public_key": "c2hvcnQ=", "ip": "10.20.1.91", "region": "fra"}',
)


def with_unreadable(excerpt: str) -> Snapshot:
    """A healthy fleet, and one registration that cannot be read."""
    return replace(healthy().snapshot(), invalid=(replace(UNREADABLE, excerpt=excerpt),))


@pytest.mark.parametrize(
    "excerpt",
    [
        UNREADABLE.excerpt,
        '{"ip": "10.20.1.91/16"}',
        '{"ip": ["10.20.1.9", "10.20.1.91/32"',
        '{"ip": "10.20.0.0/16"}',
        "10.20.1.91",
    ],
)
def test_an_address_in_an_unreadable_registration_is_not_unknown(excerpt: str) -> None:
    """A broken key beside it must not make the address look free."""
    story = told("10.20.1.91", with_unreadable(excerpt))
    assert story.headline == "10.20.1.91 stands in 1 unreadable registration: db-fra-7"
    assert [item.where for item in story.invalid] == [UNREADABLE.where]
    assert [item.check for item in story.findings] == ["invalid-registration"]
    assert story.next_steps[0].startswith("Correct the registration at wireguard/nodes/db-fra-7")


@pytest.mark.parametrize(
    "excerpt", ['{"ip": "10.20.1.9"}', '{"ip": "110.20.1.91"}', "x" * 70 + "10.20.1.91", "{"]
)
def test_an_excerpt_with_another_address_or_a_cut_one_is_no_holder(excerpt: str) -> None:
    """Yet the address is not called free: what cannot be read may hold it."""
    with pytest.raises(UsageError, match=r"do not treat it as free: .*1 registration unreadable"):
        told("10.20.1.91", with_unreadable(excerpt))


def test_a_claimed_address_tells_of_an_unreadable_registration_with_it_too() -> None:
    """There are two who want it, and only one of them could be audited."""
    story = told("10.0.0.2", with_unreadable('{"ip": "10.0.0.2"}'))
    assert story.headline == (
        "10.0.0.2 is claimed by edge-fra-1 (fra), and stands in 1 unreadable registration: db-fra-7"
    )


def test_an_address_inside_a_registered_prefix_that_nobody_routes_is_not_unknown() -> None:
    """Whoever hands it out would take it from the node that the prefix is registered for."""
    mesh = healthy().node("gate-fra-3", "10.0.1.9", "10.91.0.0/24", region="fra")
    for name in mesh.registrations:
        if name.name != "gate-fra-3":
            mesh.lacks(name.name, "gate-fra-3")
    story = told("10.91.0.7", mesh.snapshot())
    assert story.headline.endswith("no registration and no device that was seen, but 10.91.0.0/24 covers it")
    assert [(claim.prefix, claim.node) for claim in story.claims] == [
        ("10.91.0.0/24", NodeId("dc1", "gate-fra-3"))
    ]
    assert "10.91.0.0/24 (gate-fra-3) covers it: settle whose it is before you use it." in story.next_steps


def test_an_address_inside_a_prefix_that_is_only_routed_is_not_unknown() -> None:
    """One observer sends the whole network to somebody."""
    mesh = healthy().peers_with("edge-fra-1", "stranger", "10.92.0.0/16")
    story = told("10.92.3.4", mesh.snapshot())
    assert "10.92.0.0/16 covers it" in story.headline
    assert any(step.startswith("10.92.0.0/16 (an unknown key) covers it") for step in story.next_steps)


def test_a_prefix_is_told_with_what_lies_inside_it() -> None:
    """Nobody holds the /16 itself, but it is not free."""
    (note,) = told("10.0.0.0/16", healthy().snapshot()).notes
    assert note == ("5 known prefixes lie inside it: 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.1.2, 10.0.1.4.")


def test_an_address_that_was_only_registered_for_a_moment_is_not_unknown() -> None:
    """It stood in the first reading of the registry and not in the second."""
    before = replace(healthy().snapshot().registrations[0], node=NodeId("dc1", "gone-fra-1"))
    before = replace(before, addresses=(Prefix("10.0.0.55/32"),), public_key=key("gone"))
    (note,) = told("10.0.0.55", replace(healthy().snapshot(), in_flight=(before,))).notes
    assert note.startswith("gone-fra-1 was registered with it when one of the sweep's readings was made")


@pytest.mark.parametrize("target", ["x\n\x1b[31my", "\u202egnp", "z" * 5000, "\udc80"])
def test_a_strange_target_gives_one_short_printable_line(target: str) -> None:
    """It is repeated escaped, and not at full length."""
    with pytest.raises(UsageError) as raised:
        told(target)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def test_an_empty_target_is_refused() -> None:
    """With what to give in its place."""
    with pytest.raises(
        UsageError, match="name an address, a node, a region, a check, a key or a fingerprint"
    ):
        told("  ")


def test_the_next_step_of_a_contest_names_who_was_registered_first() -> None:
    """By Consul's CreateIndex."""
    assert told("10.0.0.1").next_steps[0] == (
        "Decide which node keeps 10.0.0.1. edge-sin-1 was registered with it first (CreateIndex 4711)."
    )


def test_nothing_to_do_is_said_only_where_everything_was_seen() -> None:
    """With a gap anywhere, it says that not everything was seen."""
    assert "not everything was seen" in told("10.0.1.2").next_steps[-1]
    assert "Nothing to do" in told("10.0.0.2", healthy().snapshot()).next_steps[-1]


@pytest.mark.parametrize(
    ("mesh", "why"),
    [
        (healthy().broken("db-sin-1"), "1 registration unreadable"),
        (healthy().not_seen("core-sin-2"), "only 5 of 6 registered nodes seen"),
        (healthy().gap(GapReason.CONSUL_FILTERED), "1 gap"),
    ],
)
def test_what_was_not_seen_keeps_a_target_from_having_nothing_to_do(mesh: Mesh, why: str) -> None:
    """Whatever touches the target might be just there."""
    (step,) = told("10.0.0.2", mesh.snapshot()).next_steps
    assert step.startswith("No finding touches it, but not everything was seen (")
    assert why in step


def test_a_sweep_that_was_cut_short_keeps_a_target_from_having_nothing_to_do() -> None:
    """The registry was not read again, and nobody was looked at twice."""
    (step,) = told("10.0.0.2", replace(healthy().snapshot(), cut_short="deadline")).next_steps
    assert "the sweep was cut short (deadline)" in step


def test_a_node_in_flight_has_not_nothing_to_do() -> None:
    """Its registration was not compared with its device."""
    flying, unseen = told("edge-fra-1", healthy().flying("edge-fra-1").snapshot()).next_steps
    assert flying == "edge-fra-1 had not held still when the sweep ended: sweep again."
    assert "1 gap" in unseen


def test_a_prefix_of_another_key_keeps_an_address_from_having_nothing_to_do() -> None:
    """10.9.0.0/24 is registered for the gate; one's own prefix is no such thing."""
    mesh = healthy().node("nested-ams-1", "10.9.0.4", region="ams")
    assert told("10.9.0.0/24", healthy().snapshot()).next_steps[-1].startswith("Nothing to do")
    assert told("gate-ams-2", healthy().snapshot()).next_steps[-1].startswith("Nothing to do")
    assert not any("Nothing to do" in step for step in told("10.9.0.4", mesh.snapshot()).next_steps)
    assert not any("Nothing to do" in step for step in told("10.9.0.77", healthy().snapshot()).next_steps)


def test_a_node_is_told_as_it_was_seen_last() -> None:
    """A second look that found it repaired must not leave its old address in the story."""
    before = healthy().holds("edge-sin-1", "10.0.0.2")
    story = told("edge-sin-1", before.snapshot(again=healthy(), asked=["edge-sin-1"]))
    assert [item.device.addresses for item in story.observations] == [
        item.addresses for item in story.registrations
    ]


def test_an_address_that_observers_give_a_node_and_nobody_registered_is_told_with_what_to_do() -> None:
    """It is not free, and not nothing."""
    mesh = healthy().peers_with("edge-sin-1", "edge-fra-1", "10.0.0.2", "10.0.7.7")
    story = told("10.0.7.7", mesh.snapshot())
    assert [finding.check for finding in story.findings] == ["unregistered-allowed-ips"]
    assert story.headline.endswith("that was seen, but routed to edge-fra-1 (fra)")
    assert any(step.startswith("Register 10.0.7.7 for edge-fra-1") for step in story.next_steps)


def test_an_exits_default_route_makes_no_address_somebodys() -> None:
    """It covers everything, and is nothing to settle."""
    story = told("10.0.0.3", healthy().node("exit", "10.0.0.9", "0.0.0.0/0").snapshot())
    assert story.next_steps == ("Nothing to do: every place was seen, and no finding touches it.",)


def many_observers() -> Snapshot:
    """The incident with forty watchers more, that all pick the one."""
    mesh = contested()
    for number in range(40):
        mesh.node(f"calm-{number:02}", f"10.1.0.{number + 1}", region="ams").picks(
            f"calm-{number:02}", "twin-sin"
        )
    return mesh.snapshot()


def test_many_observers_are_named_where_everyone_is_asked_for() -> None:
    snapshot = many_observers()
    report = judge(snapshot)
    few, all_of_them = (
        explain(snapshot, report, "10.0.0.9", everyone=everyone).routing[0].picks[0]
        for everyone in (False, True)
    )
    assert (few.observers, len(few.sample)) == (42, 3)
    assert len(set(all_of_them.sample)) == 42


def test_a_node_that_no_finding_is_about_tells_whom_it_loses_as_an_observer() -> None:
    story = told("watch-a", contested().snapshot())
    assert story.findings == ()
    assert [
        (loss.address, [node.name for node in loss.group.lost_by(NodeId("dc1", "watch-a"))])
        for loss in story.losses
    ] == [("10.0.0.9/32", ["twin-fra"])]
    assert "as an observer it loses somebody at 1 address" in story.headline
    assert story.next_steps == (
        "As an observer it does not reach everybody: settle 10.0.0.9, then sweep again.",
    )


@pytest.mark.parametrize("check", ["duplicate-address", "displaced-allowed-ips", "unregistered-peer"])
def test_a_fingerprint_tells_the_story_of_its_subject(check: str) -> None:
    snapshot = fleet.snapshot()
    finding = next(item for item in judge(snapshot).findings if item.check == check)
    story = told(finding.fingerprint[:8], snapshot)
    assert story.asked == finding
    assert finding in story.findings
    assert story.target in finding.subject


def test_a_fingerprint_of_another_night_leads_to_the_history() -> None:
    with pytest.raises(UsageError, match="wgaudit history show 0123456789abcdef0123"):
        told("0123456789abcdef0123")


def test_a_region_leads_to_who_is_affected() -> None:
    with pytest.raises(UsageError, match="wgaudit affected sin"):
        told("sin")


@pytest.mark.parametrize("text", ["duplicate-adress", "consul-timout"])
def test_a_word_that_is_nearly_an_ident_is_refused_before_a_look(text: str) -> None:
    with pytest.raises(UsageError, match=r"did you mean (duplicate-address|consul-timeout)\?"):
        refuse_mistyped_ident(text, known_idents(), ())


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("duplicate-adress", ["duplicate-adress"]),
        ("duplicate-adress@dc1", []),
        ("duplicate-address", []),
        ("consul-server", []),
        ("key-drift-1", []),
        ("nats-fra", []),
    ],
)
def test_what_may_be_a_node_is_never_refused_for_being_near_an_ident(text: str, known: list[str]) -> None:
    refuse_mistyped_ident(text, known_idents(), known)
