"""Idents and causes: spelt in one place, and each cause that a check names is a finding that another check makes."""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from pathlib import Path
from typing import get_type_hints

import pytest

from alerts.models import AlertIdent
from auditor.checks import idents
from auditor.checks.catalogue import CHECKS
from auditor.checks.idents import Ident
from auditor.checks.interface import Check, Draft
from auditor.errors import GapReason, InvalidValue
from auditor.fleet.fleet import Fleet
from auditor.judge import find
from auditor.state.recording import replay
from auditor.values.addresses import parse_prefix, parse_public_key
from auditor.values.findings import Finding, Reference, Severity
from tests.fleets import contested, healthy

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "auditor").rglob("*.py"), *(ROOT / "alerts").rglob("*.py")])
SPELT_IN = {ROOT / "auditor" / "checks" / "idents.py", ROOT / "alerts" / "models.py"}
RECORDINGS = sorted((ROOT / "fixtures").glob("*/snapshot.json.gz"))
PRECEDENCE = {check.ident: position for position, check in enumerate(CHECKS)}


@pytest.fixture(scope="module")
def found() -> tuple[Finding, ...]:
    """The findings of all fixtures and of a fleet with more faults."""
    fleets = [Fleet(replay(path)) for path in RECORDINGS]
    fleets.append(
        Fleet(
            contested()
            .rekeyed("watch-a", "x")
            .lacks("watch-b", "watch-a")
            .peers_with("watch-b", "g", "10.0.0.0/16")
            .snapshot()
        )
    )
    return tuple(finding for fleet in fleets for finding in find(fleet))


def kind(text: str) -> str:
    """What a part of an identity is: an address as people write it, a host with its length, a key, or a name."""
    for name, parse in (("address", parse_prefix), ("key", parse_public_key)):
        try:
            parse(text)
        except InvalidValue:
            continue
        return "host with a length" if text.endswith(("/32", "/128")) else name
    return "name"


def test_every_check_has_an_ident_of_its_own_and_every_ident_a_check() -> None:
    assert sorted(check.ident for check in CHECKS) == sorted(Ident)


def test_no_other_module_spells_an_ident() -> None:
    """A reason of a gap may be called like one, and is another thing."""
    spelt = {*Ident, *AlertIdent} - set(GapReason)
    places = {
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in SOURCES
        if path not in SPELT_IN
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in spelt
    }
    assert places == set()


def test_a_reference_is_made_by_the_function_of_its_check() -> None:
    """So that each takes the kind of value that identifies a finding of that check."""
    makers = {
        name: function
        for name, function in inspect.getmembers(idents, inspect.isfunction)
        if get_type_hints(function).get("return") is Reference
    }
    assert {name.replace("_", "-") for name in makers} <= set(Ident)
    for name, function in makers.items():
        sample = function(*("10.0.0.1/32" for _ in inspect.signature(function).parameters))
        assert sample.check == name.replace("_", "-")


def test_every_cause_that_is_named_is_one_of_an_earlier_check(found: tuple[Finding, ...]) -> None:
    """Of its own check or a later one, it would never be looked for."""
    wrong = {
        (finding.check.value, cause.check.value)
        for finding in found
        for cause in finding.follows_from
        if PRECEDENCE[Ident(cause.check)] >= PRECEDENCE[Ident(finding.check)]
    }
    assert wrong == set()


def test_a_cause_is_identified_as_its_own_check_identifies_its_findings(found: tuple[Finding, ...]) -> None:
    """By an address, a node, a key or two of them: otherwise it would be looked for and never found."""
    made, named = defaultdict(set), defaultdict(set)
    for finding in found:
        made[finding.check].add(tuple(map(kind, finding.identity)))
        for cause in finding.follows_from:
            named[cause.check].add(tuple(map(kind, cause.identity)))
    assert set(named) == {
        Ident.ADDRESS_DRIFT,
        Ident.ANSWERED_BY_OTHER,
        Ident.DEVICE_DOWN,
        Ident.DISPLACED_ALLOWED_IPS,
        Ident.DUPLICATE_ADDRESS,
        Ident.DUPLICATE_PUBLIC_KEY,
        Ident.KEY_DRIFT,
        Ident.OVERLAPPING_ALLOWED_IPS,
        Ident.REGISTRATION_VANISHED,
        Ident.RETIRED_BUT_LIVE,
        Ident.SPLIT_ROUTING,
        Ident.UNREGISTERED_PEER,
        Ident.WRONG_HOST,
    }
    assert {check: shapes - made[check] for check, shapes in named.items() if shapes - made[check]} == {}


def test_a_check_stamps_its_ident_and_severity_and_a_draft_may_have_its_own_severity() -> None:
    drafts = [
        Draft(identity=("a",), party="a", statement="It is."),
        Draft(identity=("b",), party="b", statement="It was.", severity=Severity.INFO),
    ]
    check = Check(Ident.KEY_DRIFT, Severity.ERROR, "It says.", lambda _: drafts)
    assert [
        (item.check, item.severity, item.subject) for item in check.findings(Fleet(healthy().snapshot()))
    ] == [
        (Ident.KEY_DRIFT, Severity.ERROR, "a"),
        (Ident.KEY_DRIFT, Severity.INFO, "b"),
    ]
