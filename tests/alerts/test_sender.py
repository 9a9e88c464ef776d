"""Commands that lead on from an incident."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.models import BLIND_CHECK, UNSEEN_CHECK, Status
from alerts.sender import PLAIN_SENDER, Sender
from auditor.values.guide import Guide
from tests.alerts.notifiers.sample import PAIR, SENDER
from tests.fleets import key_of

KEY = replace(PAIR, check="unregistered-peer", subject=key_of("ghost"), address="", nodes=())


def test_a_contested_address_leads_to_its_story_to_all_whom_it_concerns_and_to_its_plan() -> None:
    assert [command for _, command in SENDER.leads(PAIR).each] == [
        "ssh audit-1 wgaudit explain 10.0.0.1",
        "ssh audit-1 wgaudit affected 10.0.0.1",
        "ssh audit-1 wgaudit plan --address 10.0.0.1",
    ]


def test_what_no_plan_can_repair_leads_to_none() -> None:
    assert not SENDER.leads(replace(PAIR, check="split-routing")).plan


def test_a_lost_registration_leads_to_the_command_that_puts_it_back() -> None:
    lost = replace(PAIR, check="registration-vanished", subject="edge-10", address="", nodes=("edge-10",))
    sender = replace(SENDER, restorable=frozenset({"registration-vanished"}))
    assert ("Put it back", "ssh audit-1 wgaudit restore edge-10") in sender.leads(lost).each
    assert not sender.leads(replace(lost, subject="$(reboot)")).restore, "it would need quotes behind ssh"
    assert not sender.leads(lost, Status.RESOLVED).restore
    assert not SENDER.leads(lost).restore


def test_what_is_over_leads_to_its_story_alone() -> None:
    assert SENDER.leads(PAIR, Status.RESOLVED).each == (("Run", "ssh audit-1 wgaudit explain 10.0.0.1"),)


def test_a_key_is_explained_by_itself_and_its_observers_are_found_by_the_fingerprint() -> None:
    leads = PLAIN_SENDER.leads(KEY)
    assert leads.explain == f"wgaudit explain {KEY.subject}"
    assert leads.affected == f"wgaudit affected {KEY.fingerprint}"


@pytest.mark.parametrize(
    ("check", "nodes", "command"),
    [
        (BLIND_CHECK, (), "wgaudit sweep --config /etc/w.toml"),
        (UNSEEN_CHECK, ("a", "b"), "wgaudit sweep --config /etc/w.toml"),
        (UNSEEN_CHECK, ("a",), "wgaudit doctor --config /etc/w.toml --node a"),
    ],
)
def test_what_was_not_seen_is_looked_at_again(check: str, nodes: tuple[str, ...], command: str) -> None:
    sender = Sender(Guide(config="/etc/w.toml"))
    assert sender.leads(replace(PAIR, check=check, nodes=nodes, address="")).each == (("Run", command),)


@pytest.mark.parametrize("name", ["$(reboot)", "a;reboot", "a b", "`id`", "-rf *"])
def test_a_hostile_node_reaches_no_shell_behind_another_one(name: str) -> None:
    """ssh would hand it over without its quotes: the sweep's report names it."""
    incident = replace(PAIR, check="key-drift", address="", subject=name, nodes=(name,))
    assert SENDER.leads(incident).each == (("Run", "ssh audit-1 wgaudit sweep"),)
