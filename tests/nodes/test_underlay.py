"""Where a node is reached, and where never."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import ConfigError, GapReason, ProbeError
from auditor.nodes.underlay import Target, check_host_template, target_for
from auditor.settings.ssh import SshSettings
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Registration
from tests.nodes.stubs import key


def registered(
    *,
    name: str = "edge-fra-1",
    address: str = "10.0.0.1/32",
    ssh_host: str | None = None,
    endpoint: str | None = None,
    values: dict[str, str] | None = None,
) -> Registration:
    return Registration(
        NodeId("dc1", name),
        key(1),
        (Prefix(address),),
        region="fra",
        endpoint=endpoint,
        ssh_host=ssh_host,
        values=values or {},
    )


def target(registration: Registration, template: str = "", mesh: tuple[str, ...] = ()) -> Target:
    return target_for(registration, SshSettings(host=template), mesh)


def refused(registration: Registration, template: str = "", mesh: tuple[str, ...] = ()) -> ProbeError:
    with pytest.raises(ProbeError) as caught:
        target(registration, template, mesh)
    return caught.value


def test_ssh_host_comes_before_the_endpoint() -> None:
    node = registered(ssh_host="198.18.0.1", endpoint="198.18.0.2:51820")
    assert target(node) == Target("198.18.0.1", None)


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("198.18.0.2:51820", "198.18.0.2"),
        ("[2001:db8::2]:51820", "2001:db8::2"),
        ("a.example.net:1", "a.example.net"),
    ],
)
def test_the_endpoints_host_is_taken_without_its_port(endpoint: str, host: str) -> None:
    """That port is WireGuard's."""
    assert target(registered(endpoint=endpoint)) == Target(host, None)


@pytest.mark.parametrize(
    ("ssh_host", "expected"),
    [
        ("198.18.0.1:2222", Target("198.18.0.1", 2222)),
        ("[2001:db8::1]:2222", Target("2001:db8::1", 2222)),
        ("[2001:db8::1]", Target("2001:db8::1", None)),
        ("2001:db8::1", Target("2001:db8::1", None)),
        ("node.example.net:22", Target("node.example.net", 22)),
    ],
)
def test_ssh_host_may_carry_a_port(ssh_host: str, expected: Target) -> None:
    assert target(registered(ssh_host=ssh_host)) == expected


def test_the_port_of_the_settings_holds_where_the_registration_says_none() -> None:
    node = registered(ssh_host="198.18.0.1")
    assert target_for(node, SshSettings(port=2200), ()).port == 2200
    assert target_for(registered(ssh_host="198.18.0.1:22"), SshSettings(port=2200), ()).port == 22


@pytest.mark.parametrize(
    ("template", "host"),
    [
        ("{node}.example.net", "edge-fra-1.example.net"),
        ("{node}.{region}.{datacenter}", "edge-fra-1.fra.dc1"),
        ("{endpoint_host}", "198.18.0.2"),
        ("{rack}-{node}", "r7-edge-fra-1"),
        ("{address}", "10.0.0.1"),
    ],
)
def test_a_template_is_filled_from_the_registration(template: str, host: str) -> None:
    node = registered(endpoint="198.18.0.2:51820", values={"rack": "r7"})
    assert target(node, template).host == host


def test_a_template_may_add_a_port_to_an_ipv6_address() -> None:
    node = registered(address="fdaa::1/128")
    assert target(node, "{address}:2222") == Target("fdaa::1", 2222)


@pytest.mark.parametrize("template", ["{ssh_host}", "{rack}.example.net"])
def test_a_missing_value_is_a_gap_that_names_it(template: str) -> None:
    error = refused(registered(), template)
    assert error.reason is GapReason.NO_HOST
    assert template[1:].partition("}")[0] in error.detail


def test_a_registration_without_any_host_is_a_gap() -> None:
    assert refused(registered()).reason is GapReason.NO_HOST


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "10.0.0.7", "::ffff:10.0.0.7", "[::ffff:10.0.0.7]:22", "10.0.0.7:22"]
)
def test_a_mesh_address_is_never_stood_on(host: str) -> None:
    """Neither the node's own nor another's: the mesh may lead to the wrong server."""
    error = refused(registered(ssh_host=host), mesh=("10.0.0.7",))
    assert error.reason is GapReason.MESH_HOST
    assert "mesh" in error.detail


def test_a_mesh_address_is_taken_where_the_template_asks_for_it() -> None:
    assert target(registered(), "{address}", ("10.0.0.1",)).host == "10.0.0.1"


@pytest.mark.parametrize(
    "host",
    [
        "-oProxyCommand=x",
        "a b",
        "a;b",
        "a\nb",
        "fe80::1%eth0",
        "010.0.0.1",
        "10.1",
        "0x0a000001",
        "167772161",
        "a..b",
        "x" * 254,
        "a/b",
        "user@host",
        "host:0",
        "host:99999",
        "[::1",
        "[]:22",
        "ho\u0455t",
        "*",
    ],
)
def test_what_is_not_a_plain_host_is_refused(host: str) -> None:
    """Short and octal spellings too: to a resolver they are addresses that no check would know."""
    assert refused(registered(ssh_host=host)).reason is GapReason.RESOLVE


@given(st.text(max_size=60))
def test_no_text_of_a_registration_passes_with_a_character_that_could_do_harm(text: str) -> None:
    try:
        found = target(registered(ssh_host=text))
    except ProbeError:
        return
    assert not found.host.startswith("-")
    assert not set(found.host) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:")


@pytest.mark.parametrize(
    "template", ["{node.__class__}", "{node[0]}", "{node!r}", "{node:>10}", "{}", "{0}", "{node", "}"]
)
def test_a_template_that_reaches_beyond_plain_names_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match=r"ssh\.host: .*known names: node, ssh_host"):
        check_host_template(template)


@pytest.mark.parametrize(
    "template", ["", "{ssh_host}", "{node}.example.net", "fixed.example.net", "{any_field}"]
)
def test_a_template_of_plain_names_passes(template: str) -> None:
    check_host_template(template)
