"""What the audit's key may do on a node, as authorized_keys says it."""

from __future__ import annotations

from auditor.nodes.key_options import key_line, key_options
from auditor.settings.witnesses import WitnessSettings


def test_without_witnesses_the_key_may_forward_nothing() -> None:
    assert key_line([]) == 'command="/usr/local/libexec/wgaudit-probe",restrict'


def test_a_nats_witness_needs_its_port_alone() -> None:
    assert key_options([WitnessSettings(type="nats")]) == 'restrict,port-forwarding,permitopen="*:4222"'


def test_each_port_that_is_asked_is_named() -> None:
    kinds = [
        WitnessSettings(type="nats", monitoring_port=8222),
        WitnessSettings(type="ssh-host-key", port=2222),
    ]
    assert key_options(kinds) == (
        'restrict,port-forwarding,permitopen="*:4222",permitopen="127.0.0.1:8222",permitopen="*:2222"'
    )
