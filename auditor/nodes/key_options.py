"""Options of the audit's key in a node's authorized_keys: what it may do there, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from auditor.settings.witnesses import WitnessSettings
from auditor.values.witness_answers import AnswerSource

INSTALLED_AT = "/usr/local/libexec/wgaudit-probe"
"""Path at which the documentation installs the probe."""


def key_options(witnesses: Iterable[WitnessSettings]) -> str:
    """Write the options behind a forced command: `restrict`, and the ports that witnesses connect on to.

    `port-forwarding` and `permitopen` are needed both: `restrict` alone refuses, and so does `permitopen` beside it.
    Never a network in `permitopen`, such as "10.0.0.0/8:4222": sshd then takes the whole line for nothing.
    """
    places = [place for item in witnesses for place in _places(item)]
    if not places:
        return "restrict"
    return ",".join(
        ("restrict", "port-forwarding", *(f'permitopen="{place}"' for place in dict.fromkeys(places)))
    )


def key_line(witnesses: Iterable[WitnessSettings]) -> str:
    """Write the options of the key as a whole, with the forced probe, as they stand before it in authorized_keys."""
    return f'command="{INSTALLED_AT}",{key_options(witnesses)}'


def _places(item: WitnessSettings) -> Iterable[str]:
    yield f"*:{item.asked_port}"
    if item.source is AnswerSource.NATS and item.monitoring_port is not None:
        yield f"127.0.0.1:{item.monitoring_port}"
