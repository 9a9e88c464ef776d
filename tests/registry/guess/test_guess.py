"""Guess at an unknown registry: where registrations are, what their fields are called, and what that rests on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.registry.file import file_items
from auditor.registry.guess.field_guess import counted_at, guess_fields
from auditor.registry.guess.found_records import FoundRecord, catalog_candidate, kv_candidates
from auditor.registry.guess.whole_guess import guess_registry, ranked
from auditor.registry.records import CatalogNode, KvItem
from auditor.values.registry_guess import FIELDS, RegistryGuess
from tests.registry.guess.registries import REGIONS, items, json_registry, key_of, node

CASES = Path(__file__).parents[2] / "cases" / "registry"
PATHS = {
    "public_key": "wg.pubkey",
    "address": "wg.addr",
    "region": "site",
    "endpoint": "wg.endpoint",
    "ssh_host": "mgmt_ip",
    "state": "lifecycle",
}


def guess(keys: list[KvItem]) -> RegistryGuess:
    """The guess about the best candidate among these keys."""
    (best, _), *_ = ranked(kv_candidates(keys), lambda item: len(item.records))
    return guess_registry(best)


def paths(found: RegistryGuess) -> Mapping[str, str]:
    """The guessed path of each field."""
    return {item.field: item.path for item in found.fields}


def test_json_values_are_found_wherever_they_are_whatever_their_fields_are_called() -> None:
    noise = {"app/feature": "true", "app/db": {"url": "x", "ip": "10.9.9.9"}, "infra/next_ip": "10.20.0.77"}
    found = guess(items({**noise, **json_registry()}))
    assert (found.layout, found.prefix, found.registrations) == ("kv-json", "infra/peers/", 9)
    assert paths(found) == PATHS


def test_a_guess_says_of_how_many_values_it_is_true() -> None:
    registry = json_registry()
    registry["infra/peers/edge-fra-1"] = {"wg": {"pubkey": "cut off", "addr": "10.20.0.2"}}
    field = guess(items(registry)).field("public_key")
    assert (field.path, field.matching, field.of) == ("wg.pubkey", 8, 9)


def test_one_key_a_field_is_recognized() -> None:
    registry: dict[str, object] = {}
    for number in range(6):
        name, region = node(number)
        registry |= {
            f"mesh/{name}/pub": key_of(name),
            f"mesh/{name}/address": f"10.1.0.{number}",
            f"mesh/{name}/region": region,
        }
    found = guess(items(registry))
    assert (found.layout, found.prefix, found.registrations) == ("kv-fields", "mesh/", 6)
    assert paths(found) == {
        **dict.fromkeys(FIELDS, ""),
        "public_key": "pub",
        "address": "address",
        "region": "region",
    }


def test_one_record_for_each_device_is_recognized_with_the_device() -> None:
    registry = {f"{key}/wg7": value for key, value in json_registry().items()}
    found = guess(items(registry))
    assert (found.layout, found.prefix, found.device) == ("kv-json", "infra/peers/", "wg7")


def test_the_meta_of_the_catalog_is_recognized() -> None:
    nodes = [
        CatalogNode(
            name, "198.51.100.1", {"wg_key": key_of(name), "wg_ip": f"10.1.0.{number}", "region": region}
        )
        for number in range(4)
        for name, region in [node(number)]
    ]
    nodes.append(CatalogNode("consul-1", "198.51.100.9", {"consul-network-segment": ""}))
    ((best, _),) = ranked([catalog_candidate(nodes)], lambda item: len(item.records))
    found = guess_registry(best)
    assert (found.layout, found.registrations, found.others) == ("catalog", 4, 1)
    assert (paths(found)["public_key"], paths(found)["address"]) == ("wg_key", "wg_ip")


def test_a_copy_comes_after_what_it_is_a_copy_of() -> None:
    """Although it has more nodes."""
    both = {**json_registry(), **json_registry("infra/peers-old/", 12)}
    order = [item.prefix for item, _ in ranked(kv_candidates(items(both)), lambda item: len(item.records))]
    assert order == ["infra/peers/", "infra/peers-old/"]


def test_claims_to_addresses_are_no_nodes() -> None:
    claims = {
        f"claims/10.20.0.{number}": {"public_key": key_of("x"), "ip": "10.20.0.1"} for number in range(20)
    }
    assert guess(items({**claims, **json_registry(nodes=3)})).prefix == "infra/peers/"


def test_nothing_that_has_no_key_and_address_is_taken_for_a_registration() -> None:
    keys = items({"a/b": {"ip": "10.0.0.1"}, "a/c": {"public_key": key_of("c")}, "d": "10.0.0.1", "e/": ""})
    assert ranked(kv_candidates(keys), lambda item: len(item.records)) == []


def test_a_private_key_is_never_taken_for_the_public_one_and_is_reported() -> None:
    records = [
        FoundRecord(name, {"private_key": key_of(f"secret {name}"), "wg_key": key_of(name), "ip": "10.0.0.1"})
        for name in ("a", "b")
    ]
    found = guess_registry(kv_candidates(items({f"p/{r.name}": dict(r.values) for r in records}))[0])
    assert paths(found)["public_key"] == "wg_key"
    assert found.private == ("private_key",)


def test_the_mesh_address_is_told_from_the_address_for_ssh() -> None:
    """Both are private addresses; the names decide, and the other one is told."""
    records = [
        FoundRecord(
            f"n{number}",
            {"pub": key_of(str(number)), "ssh_ip": f"10.9.0.{number}", "mesh_ip": f"10.1.0.{number}"},
        )
        for number in range(3)
    ]
    fields = {item.field: item.path for item in guess_fields(records)}
    assert (fields["address"], fields["ssh_host"]) == ("mesh_ip", "ssh_ip")


def test_states_that_mean_retired_are_counted() -> None:
    assert guess(items(json_registry())).retired == (("decommissioned", 1),)


def test_a_path_that_a_person_names_is_counted_too() -> None:
    records = [FoundRecord("a", {"x": key_of("a")}), FoundRecord("b", {"x": "no key"})]
    found = counted_at(records, "public_key", "x")
    assert (found.path, found.matching, found.of) == ("x", 1, 2)


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.glob("*.json")))
def test_recorded_registries_are_guessed_as_they_are_configured(case: str) -> None:
    """Oddities of single values change nothing of the guess about all."""
    found = guess(file_items(CASES / case))
    assert (found.layout, found.prefix) == ("kv-json", "wireguard/nodes/")
    assert found.device == ("wg0" if case.startswith("07") else "")
    assert (paths(found)["public_key"], paths(found)["address"]) == ("public_key", "ip")
    assert paths(found)["ssh_host"] == "ssh_host"


NAMES = st.sampled_from(["", "wg.", "net.mesh.", "data."])


@given(
    inside=NAMES,
    key=st.sampled_from(["pubkey", "public_key", "publicKey", "key"]),
    address=st.sampled_from(["ip", "addr", "mesh_ip", "wg_address", "allowed_ips"]),
    region=st.sampled_from(["region", "site", "dc", "zone"]),
    nodes=st.integers(2, 12),
)
def test_usual_names_are_found_at_any_depth(
    inside: str, key: str, address: str, region: str, nodes: int
) -> None:
    registry = json_registry(
        nodes=nodes, key=inside + key, address=inside + address, region=region, ssh_host="ssh_host"
    )
    found = paths(guess(items(registry)))
    assert (found["public_key"], found["address"]) == (inside + key, inside + address)
    assert (found["region"], found["ssh_host"]) == (region, "ssh_host")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from([key_of("x"), "10.0.0.1", *REGIONS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.text(max_size=20),
        st.binary(max_size=40) | JSON.map(lambda value: repr(value).encode()),
        max_size=6,
    ),
    st.dictionaries(st.text(max_size=20), JSON, max_size=6),
)
def test_any_content_is_guessed_at_without_an_error(
    raw: dict[str, bytes], documents: dict[str, object]
) -> None:
    """Consul's content is not ours."""
    keys = [KvItem(key, value) for key, value in raw.items()] + items(documents)
    for candidate, _ in ranked(kv_candidates(keys), lambda item: len(item.records)):
        guess_registry(candidate)
