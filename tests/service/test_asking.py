"""Asking at addresses: who is asked, from where, and what the answers mean. The nodes answer over SSH."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.demo.servers import ServedFleet
from auditor.errors import UsageError
from auditor.values.asked_addresses import Asking, AskOutcome
from tests.service.asking import AMS, FRA, FREE, NOBODYS, NRT, SIN, Desk, answering_fleet


@pytest.fixture(scope="module")
def served() -> Iterator[ServedFleet]:
    with answering_fleet() as fleet:
        yield fleet


@pytest.fixture
def desk(served: ServedFleet, tmp_path: Path) -> Desk:
    return Desk(tmp_path, served)


def observers(asking: Asking) -> set[str]:
    return {answer.observer.name for item in asking.addresses for answer in item.answers}


def test_all_who_answer_are_the_registered_node(desk: Desk) -> None:
    asking = desk.ask(FRA)
    assert asking.outcome is AskOutcome.REGISTERED
    (asked,) = asking.addresses
    assert observers(asking) == {"edge-ams-1", "edge-nrt-1", "edge-sin-1"}
    assert {(item.node.name, item.said, item.region) for item in asked.answers if item.node} == {
        ("edge-fra-1", "edge-fra-1", "fra")
    }
    assert all(0 < item.seconds < 3 for item in asked.answers)


def test_a_node_never_asks_for_its_own_address(desk: Desk) -> None:
    assert "edge-ams-1" not in observers(desk.ask(AMS))


def test_a_nodes_name_means_its_addresses(desk: Desk) -> None:
    assert [item.address for item in desk.ask("edge-sin-1", "ams").addresses] == [f"{SIN}/32"]


def test_another_node_that_answers_is_somebody_else(desk: Desk) -> None:
    desk.register(edge_fra_1=NRT, edge_nrt_1=FRA)
    assert desk.ask(FRA, "ams").outcome is AskOutcome.SOMEBODY_ELSE


def test_an_address_of_two_nodes_is_contested_whoever_answers(desk: Desk) -> None:
    desk.register(db_sin_1=FRA)
    asking = desk.ask(FRA, "ams")
    assert asking.outcome is AskOutcome.CONTESTED
    assert [node.name for node in asking.addresses[0].holders] == ["db-sin-1", "edge-fra-1"]


def test_an_address_that_two_nodes_may_share_is_as_registered(desk: Desk) -> None:
    desk.register(db_sin_1=FRA)
    shared = f'[[shared]]\naddress = "{FRA}"\nnodes = ["db-sin-1", "edge-fra-1"]\nreason = "r"\n'
    desk.configure(more=f"{shared}until = 2099-01-01\n")
    assert desk.ask(FRA, "ams").outcome is AskOutcome.REGISTERED
    desk.configure(more=f"{shared}until = 2001-01-01\n")
    assert desk.ask(FRA, "ams").outcome is AskOutcome.CONTESTED


def test_a_node_with_a_contested_address_asks_only_where_it_is_named(desk: Desk) -> None:
    """Answers to it may go to its rival."""
    desk.register(db_sin_1=NRT)
    assert observers(desk.ask(FRA)) == {"edge-ams-1", "edge-sin-1"}
    assert observers(desk.ask(FRA, "edge-nrt-1")) == {"edge-nrt-1"}
    assert observers(desk.ask(FRA, "nrt")) == {"edge-nrt-1"}


def test_all_asks_from_every_node_of_the_regions_that_are_named(desk: Desk) -> None:
    desk.register(db_sin_1="10.16.0.7", cache_fra_1="10.32.0.7")
    desk.configure("observers = 1")
    assert len(observers(desk.ask(NRT))) == 3
    assert len(observers(desk.ask(NRT, everyone=True))) == 5
    assert observers(desk.ask(NRT, "sin", everyone=True)) == {"edge-sin-1", "db-sin-1"}


def test_somebody_at_an_address_that_nobody_registered_is_somebody_else(desk: Desk) -> None:
    desk.register(edge_fra_1=FREE)
    asking = desk.ask(FRA, "ams")
    assert (asking.outcome, asking.addresses[0].holders) == (AskOutcome.SOMEBODY_ELSE, ())


def test_servers_that_are_tied_to_no_node_prove_nothing(desk: Desk) -> None:
    desk.configure('name = "nats-{node}"')
    assert desk.ask(FRA).outcome is AskOutcome.UNKNOWN


def test_no_answer_is_never_nobody(desk: Desk) -> None:
    asking = desk.ask(NOBODYS, "ams")
    assert asking.outcome is AskOutcome.UNKNOWN
    assert asking.addresses[0].answers[0].reason == "no-answer"
    assert set(asking.advice) == {"no-answer"}


def test_an_observer_that_cannot_be_reached_costs_its_own_answer_alone(desk: Desk) -> None:
    desk.register(db_sin_1="10.16.0.7")
    asking = desk.ask(FRA, "db-sin-1", "ams")
    assert asking.outcome is AskOutcome.REGISTERED
    failed = [item for item in asking.addresses[0].answers if item.reason is not None]
    assert [(item.observer.name, item.reason) for item in failed] == [("db-sin-1", "connect-refused")]
    assert desk.ask(FRA, "db-sin-1").outcome is AskOutcome.UNKNOWN


def test_an_unreadable_registry_is_a_gap_and_nobody_is_asked(desk: Desk) -> None:
    (desk.folder / "registry.json").write_text("[")
    asking = desk.ask(FRA)
    assert (asking.outcome, asking.addresses) == (AskOutcome.UNKNOWN, ())
    assert [gap.reason for gap in asking.gaps] == ["registry-unreadable"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("192.0.2.9",), "lies in no pool of the mesh (10.0.0.0/8)"),
        (("fd00::1",), "lies in no pool of the mesh"),
        (("10.0.7.0/24",), "is a network, and a question needs one address of it"),
        (("10.0.7.300",), "not an IP address; name one mesh address, or a node"),
        (("10.0.7.2%wg0",), "an address with a zone"),
        (("::ffff:10.0.0.1",), "write the IPv4 address"),
        ((" ",), "the target is empty"),
        (("edge-sin-7",), "is no registered node; near it: edge-sin-1"),
        (
            (FRA, "nowhere"),
            "neither a registered node nor a region of one (regions: ams, fra, nrt and sin)",
        ),
        ((FRA, "amss"), "near it: ams"),
        ((FRA, ""), '"" is neither'),
        ((FRA, "edge-fra-1"), "is registered for the address itself"),
        ((FRA, "fra"), "there is nobody to ask from among --from fra"),
        ((FRA, "\x1b[31m"), "\\x1b[31m is neither"),
        ((FRA, "x" * 5000), "x…"),
    ],
    ids=ascii,
)
def test_bad_input_is_one_line_that_says_what_to_do(desk: Desk, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        desk.ask(*words)
    assert said in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_an_ipv6_address_is_asked_for_as_any_other(desk: Desk) -> None:
    desk.register(db_sin_1="fd00::7")
    asking = desk.ask("fd00:0::7", "ams")
    assert [item.address for item in asking.addresses] == ["fd00::7/128"]
    assert asking.outcome is AskOutcome.UNKNOWN


def test_without_a_witness_the_line_says_what_to_put_where(desk: Desk) -> None:
    desk.configure(None)
    with pytest.raises(UsageError, match=r'add \[\[witnesses\]\] with type = "nats" to the configuration'):
        desk.ask(FRA)
