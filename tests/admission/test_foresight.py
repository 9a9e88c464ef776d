"""What is admitted and then written gives no finding; what is refused would have given the one that is foreseen."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.admission.objections import AdmissionVerdict
from auditor.checks.idents import Ident
from auditor.judge import judge
from auditor.values.addresses import Prefix
from auditor.values.findings import Finding
from auditor.values.models import NodeId, Registration, SharedAddress, Snapshot
from tests.admission.records import POLICY, judged, registration
from tests.fleets import FINISHED, STARTED

REGIONS = {"sin": Prefix("10.16.0.0/12"), "fra": Prefix("10.32.0.0/12")}
SHARED = SharedAddress(Prefix("10.16.0.6/32"), frozenset({"edge-sin-1", "edge-sin-2"}), "anycast", FINISHED)
ADDRESSES = (
    "10.0.0.1",
    "10.16.0.5",
    "10.16.0.6",
    "10.32.0.5",
    "10.16.0.0/24",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "192.0.2.7",
    "10.255.255.255",
    "fd00::7",
)
NAMES = ("edge-sin-1", "edge-sin-2", "edge-fra-1")
FORESEEN = {
    Ident.DUPLICATE_ADDRESS,
    Ident.DUPLICATE_PUBLIC_KEY,
    Ident.OUTSIDE_POOL,
    Ident.FALLBACK_ADDRESS,
    Ident.REGION_MISMATCH,
    Ident.OVERLAPPING_ALLOWED_IPS,
}
POLICY_OF = {
    "name_pattern": "^edge-(?P<region>[a-z]{3})-",
    "region_pools": REGIONS,
    "shared": (SHARED,),
}


@st.composite
def records(draw: st.DrawFn, name: str) -> Registration:
    return registration(
        name,
        *draw(st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=2, unique=True)),
        dc=draw(st.sampled_from(["dc1", "dc1", "dc2"])),
        key=draw(st.sampled_from(["", "", "", "cloned"])),
        region=draw(st.sampled_from([None, "sin", "fra"])),
        retired=draw(st.sampled_from([False, False, False, True])),
    )


REGISTRIES = st.tuples(*map(records, (*NAMES, "edge-sin-1"))).map(
    lambda items: list({item.node: item for item in items}.values())
)


def findings(registrations: list[Registration]) -> list[Finding]:
    policy = replace(POLICY, **POLICY_OF)  # type: ignore[arg-type]
    found = judge(Snapshot(STARTED, STARTED, policy, tuple(registrations)))
    return [item for item in found.standing if item.check in FORESEEN]


def concerns(finding: Finding, record: Registration) -> bool:
    if finding.check is Ident.OVERLAPPING_ALLOWED_IPS:
        facts = {value for label, value in finding.evidence.facts if label == "covers"}
        own = {prefix.removesuffix("/32").removesuffix("/128") for prefix in record.addresses}
        return ("key", record.public_key) in finding.evidence.facts or bool(facts & own)
    if finding.check is Ident.DUPLICATE_PUBLIC_KEY:
        return finding.public_key == record.public_key
    if finding.address is not None:
        return finding.address in record.addresses
    return record.node in finding.nodes


@settings(max_examples=100, deadline=None)
@given(REGISTRIES, st.sampled_from(NAMES).flatmap(records))
def test_an_admitted_record_gives_no_finding_once_it_is_written(
    registry: list[Registration], record: Registration
) -> None:
    (found,) = judged(record, registry=registry, policy=POLICY_OF)
    written = [item for item in registry if item.node != record.node] + [record]
    there = [item for item in findings(written) if concerns(item, record)]
    if found.verdict is AdmissionVerdict.ADMITTED and not record.retired:
        assert {item.check for item in there} <= {item.finding for item in found.warnings}
    foreseen = {item.finding for item in found.objections if item.finding in FORESEEN}
    assert foreseen <= {item.check for item in there}


@settings(max_examples=60, deadline=None)
@given(
    REGISTRIES,
    st.lists(st.sampled_from(NAMES), min_size=2, max_size=3, unique=True).flatmap(
        lambda names: st.tuples(*map(records, names))
    ),
)
def test_records_that_are_admitted_together_give_no_duplicate_once_all_are_written(
    registry: list[Registration], new: tuple[Registration, ...]
) -> None:
    found = judged(*new, registry=registry, policy=POLICY_OF)
    nodes = {item.node for item in new}
    written = [item for item in registry if item.node not in nodes] + list(new)
    admitted: set[NodeId] = {
        item.proposal.node for item in found if item.verdict is AdmissionVerdict.ADMITTED
    }
    duplicates = {Ident.DUPLICATE_ADDRESS, Ident.DUPLICATE_PUBLIC_KEY}
    assert [
        item for item in findings(written) if item.check in duplicates and admitted & set(item.nodes)
    ] == []
