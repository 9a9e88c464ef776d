"""A plan as a file: what was written is what is read, and nothing else is taken for one."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import PlanError
from auditor.repair.plan.plan_v1 import document, from_json, schema_text
from auditor.repair.plan_file import MAX_PLAN, read_plan, write_plan
from auditor.reports.interface import Layout
from auditor.reports.terminal.plan_page import render_plan
from auditor.values.address_claims import RepairPolicy
from auditor.values.drains import DrainMeans, DrainPolicy
from tests.fleets import Mesh
from tests.repair.plans import meshes, pair, planned

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "plan-v1.schema.json"


DRAINS = (
    None,
    DrainPolicy(DrainMeans.NOMAD_ELIGIBILITY),
    DrainPolicy(DrainMeans.COMMAND, ("drain", "{node}"), ("undrain", "--at={address}")),
)


@given(meshes(), st.sampled_from(DRAINS))
@settings(max_examples=40, deadline=None)
def test_a_plan_comes_back_as_it_was_and_fits_the_published_schema(
    mesh: Mesh, drain: DrainPolicy | None
) -> None:
    made = planned(mesh, RepairPolicy(drain=drain))
    text = document(made)
    assert from_json(text.encode(), "test") == made
    assert document(from_json(text.encode(), "test")) == text
    jsonschema.validate(json.loads(text), json.loads(SCHEMA.read_text()))


def test_the_published_schema_is_the_codes() -> None:
    assert SCHEMA.read_text() == schema_text()


def test_a_plan_of_an_older_version_still_loads() -> None:
    content = json.loads(document(planned(pair())))
    for field in ("remaining", "unseen", "drain"):
        del content[field]
    for item in content["contested"]:
        for field in ("routed", "observers", "reaching_keeper", "changing", "poorly_reached"):
            del item[field]
        for move in item["moves"]:
            del move["chosen"]
    read = from_json(json.dumps(content).encode(), "test")
    assert read.moves == planned(pair()).moves
    assert "change server" not in render_plan(read, Layout())


def test_a_plan_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(planned(pair()), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_plan(path) == planned(pair())


Change = Callable[[dict[str, Any]], object]


def move_of(content: dict[str, Any]) -> dict[str, Any]:
    move: dict[str, Any] = content["contested"][0]["moves"][0]
    return move


@pytest.mark.parametrize(
    "change",
    [
        lambda plan: move_of(plan).update(new="10.1.2.3/32"),
        lambda plan: move_of(plan).update(where="wireguard/nodes/other"),
        lambda plan: move_of(plan).update(modify_index=21),
        lambda plan: move_of(plan).update(host="10.0.0.1"),
        lambda plan: move_of(plan)["node"].update(name="other"),
        lambda plan: plan["contested"][0]["moves"].clear(),
        lambda plan: plan["contested"][0]["keeper"]["node"].update(name="other"),
        lambda plan: plan.update(device="wg1"),
        lambda plan: plan.update(claims_prefix="elsewhere/"),
        lambda plan: plan.update(ident="0123456789"),
    ],
    ids=[
        "address",
        "key in Consul",
        "index",
        "host",
        "node",
        "no move",
        "keeper",
        "device",
        "claims",
        "ident",
    ],
)
def test_an_edited_plan_is_refused(change: Change) -> None:
    content = json.loads(document(planned(pair())))
    change(content)
    with pytest.raises(PlanError, match="changed since it was made"):
        from_json(json.dumps(content).encode(), "plan.json")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda plan: plan.update(schema="wgaudit.plan/9"), "not a wgaudit.plan/1 file"),
        (lambda plan: plan.update(more=1), "more"),
        (lambda plan: plan.pop("notes"), "notes"),
        (lambda plan: plan.update(snapshot_at="2026-03-01T03:00:00"), "snapshot_at"),
        (lambda plan: move_of(plan).update(new="10.1.2.3/8"), r"contested\.0\.moves\.0\.new: host bits"),
        (lambda plan: move_of(plan).update(new="fd00::7/128"), "another family"),
        (lambda plan: move_of(plan).update(new="10.1.0.0/16"), "one single address"),
        (lambda plan: move_of(plan).update(new=move_of(plan)["old"]), "to another one"),
        (lambda plan: move_of(plan).update(addresses=["10.8.8.8/32"]), "does not hold"),
        (lambda plan: move_of(plan).update(public_key="short"), "public_key: not a public key"),
        (lambda plan: move_of(plan).update(modify_index="20"), "modify_index"),
        (lambda plan: move_of(plan).update(kind="delete"), "kind"),
        (lambda plan: move_of(plan).update(node=plan["contested"][0]["keeper"]["node"]), "keeps the address"),
        (lambda plan: plan["contested"][0]["keeper"].update(public_key=None), "a name and a key"),
    ],
)
def test_what_is_no_plan_is_refused_with_file_and_place_in_one_line(change: Change, says: str) -> None:
    content = json.loads(document(planned(pair())))
    change(content)
    with pytest.raises(PlanError, match=says) as caught:
        from_json(json.dumps(content).encode(), "plan.json")
    assert str(caught.value).startswith("plan.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("drain", "says"),
    [
        ({"means": "command", "drain": [], "undrain": []}, "drain: commands have words"),
        ({"means": "consul-maintenance", "drain": ["rm"], "undrain": ["x"]}, "drain: commands have words"),
        ({"means": "command", "drain": ["{node}"], "undrain": ["x"]}, r"drain\.drain: its first word"),
    ],
)
def test_a_way_out_of_production_that_no_configuration_has_is_refused(drain: object, says: str) -> None:
    content = json.loads(document(planned(pair()))) | {"drain": drain}
    with pytest.raises(PlanError, match=says):
        from_json(json.dumps(content).encode(), "test")


def test_two_nodes_cannot_get_one_address() -> None:
    content = json.loads(document(planned(pair().node("newer", "10.7.0.9", index=30))))
    first, second = content["contested"][0]["moves"]
    second["new"] = first["new"]
    with pytest.raises(PlanError, match="two nodes get one and the same address"):
        from_json(json.dumps(content).encode(), "plan.json")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_what_is_not_json_of_ours_is_refused(raw: bytes) -> None:
    with pytest.raises(PlanError, match="make one with"):
        from_json(raw, "plan.json")


def test_a_file_that_is_far_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with path.open("wb") as stream:
        stream.truncate(MAX_PLAN + 2)
    with pytest.raises(PlanError, match="not a plan of ours"):
        read_plan(path)


def test_a_plan_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot read"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(PlanError, match="cannot write"):
        write_plan(planned(pair()), tmp_path / "nowhere" / "plan.json")
