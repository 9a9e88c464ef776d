"""Records that are to be written, and what stands, in a few words: for tests of their judgement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from auditor.admission.judged_against import JudgedAgainst
from auditor.admission.judgement import admissions
from auditor.admission.objections import Admission, Proposal
from auditor.values.addresses import PublicKey
from auditor.values.models import AuditPolicy, NodeId, Registration, RegistryReading
from tests.fleets import STARTED, key_of, prefixes

POLICY = AuditPolicy(pools=prefixes(["10.0.0.0/8", "fd00::/8"]))


def registration(
    name: str, *addresses: str, dc: str = "dc1", key: str | None = "", **more: Any
) -> Registration:
    """A node's registration. key: of the node that it is named after; None: it could not be read."""
    public_key: PublicKey | None = None if key is None else key_of(key or name)
    where = f"wireguard/nodes/{name}"
    return Registration(NodeId(dc, name), public_key, prefixes(addresses), where=where, **more)


def judged(
    *records: Registration,
    registry: Iterable[Registration] = (),
    policy: Mapping[str, Any] | None = None,
    **against: Any,
) -> tuple[Admission, ...]:
    """Judge records against a registry that was read whole."""
    reading = against.pop("reading", RegistryReading(tuple(registry)))
    beside = JudgedAgainst(replace(POLICY, **(policy or {})), STARTED, reading, **against)
    return admissions([Proposal(item.node, item.where, item) for item in records], beside)


def idents(admission: Admission) -> list[str]:
    """Idents of what refuses a record."""
    return [item.ident.value for item in admission.refusals]


def warned(admission: Admission) -> list[str]:
    """Idents of its warnings."""
    return [item.ident.value for item in admission.warnings]
