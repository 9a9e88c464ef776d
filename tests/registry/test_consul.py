"""The registry against a real Consul: layouts, datacenters, ACLs, TLS, and an environment that lies."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import SecretStr

from auditor.errors import ConfigError, GapReason
from auditor.registry.consul import ConsulRegistry
from auditor.settings.consul import ConsulFields, ConsulSettings
from auditor.values.models import Gap, NodeId, RegistryReading
from tests.doubles.server import Double
from tests.parts.consul import ConsulServer, make_tls
from tests.registry.records_of import PREFIX, key_of, record

pytestmark = pytest.mark.xdist_group("consul")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("consul")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ConsulServer]:
    with ConsulServer(folder / "plain") as running:
        yield running


@pytest.fixture
def consul(server: ConsulServer) -> Iterator[ConsulServer]:
    """The shared server, empty."""
    yield server
    server.delete("", recurse=True)


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[ConsulServer]:
    """A server with ACLs, default deny."""
    with ConsulServer(folder / "guarded", acl=True) as running:
        running.put(PREFIX + "edge-sin-1", record("edge-sin-1"))
        running.put(PREFIX + "worker-fra-1", record("worker-fra-1", "10.0.0.2"))
        yield running


async def read(server: ConsulServer, token: str | None = None, **settings: Any) -> RegistryReading:
    return await registry(server.url, token, **settings).read()


def registry(url: str, token: str | None = None, **settings: Any) -> ConsulRegistry:
    parsed = ConsulSettings.model_validate({"url": url, "timeout": 10.0, **settings})
    return ConsulRegistry(parsed, SecretStr(token) if token is not None else None)


def only_gap(reading: RegistryReading) -> Gap:
    assert len(reading.gaps) == 1, reading.gaps
    return reading.gaps[0]


def names(reading: RegistryReading) -> list[str]:
    return sorted(str(registration.node) for registration in reading.registrations)


async def test_a_json_record_becomes_a_registration_with_its_indexes(consul: ConsulServer) -> None:
    consul.put(
        PREFIX + "edge-sin-1", record("edge-sin-1", region="sin", endpoint="198.18.0.12:51820", rack="r7")
    )
    consul.put(
        PREFIX + "edge-sin-1", record("edge-sin-1", region="sin", endpoint="198.18.0.12:51820", rack="r8")
    )
    reading = await read(consul)
    assert reading.gaps == ()
    assert reading.invalid == ()
    (registration,) = reading.registrations
    assert registration.node == NodeId("", "edge-sin-1")
    assert registration.public_key == key_of("edge-sin-1")
    assert registration.addresses == ("10.0.0.1/32",)
    assert (registration.region, registration.endpoint) == ("sin", "198.18.0.12:51820")
    assert registration.values == {"rack": "r8"}
    assert registration.where == PREFIX + "edge-sin-1"
    assert registration.create_index is not None
    assert registration.modify_index is not None
    assert 0 < registration.create_index < registration.modify_index


async def test_one_unreadable_record_does_not_hide_the_others(consul: ConsulServer) -> None:
    consul.put(PREFIX + "good", record("good"))
    consul.put(PREFIX + "bad", b"\xff\xfe not json")
    reading = await read(consul)
    assert names(reading) == ["good"]
    assert [one.node.name for one in reading.invalid] == ["bad"]


async def test_the_prefix_match_of_consul_does_not_bring_in_a_sibling_prefix(consul: ConsulServer) -> None:
    """Consul's match is greedy: `wireguard/nodes` would also give `wireguard/nodes-old/…`."""
    consul.put(PREFIX + "mine", record("mine"))
    consul.put("wireguard/nodes-old/gone", record("gone"))
    assert names(await read(consul)) == ["mine"]


async def test_folders_that_the_consul_ui_made_are_not_registrations(consul: ConsulServer) -> None:
    consul.put(PREFIX, b"")
    consul.put(PREFIX + "old/", b"")
    consul.put(PREFIX + "mine", record("mine"))
    reading = await read(consul)
    assert (names(reading), reading.invalid) == (["mine"], ())


async def test_a_prefix_with_nothing_but_folders_is_a_gap(consul: ConsulServer) -> None:
    consul.put(PREFIX, b"")
    assert only_gap(await read(consul)).reason is GapReason.REGISTRY_EMPTY


async def test_a_404_on_the_prefix_is_a_gap_not_an_empty_registry(consul: ConsulServer) -> None:
    gap = only_gap(await read(consul, prefix="wireguard/nowhere/"))
    assert gap.reason is GapReason.PREFIX_NOT_FOUND
    assert "token" in gap.detail


async def test_one_key_a_field_gives_the_address_keys_indexes(consul: ConsulServer) -> None:
    """The address is what two writers race for: its key's indexes are the ones that tell."""
    consul.put(PREFIX + "edge-sin-1/ip", b"10.0.0.1, fdaa::1\n")
    consul.put(PREFIX + "edge-sin-1/public_key", key_of("edge-sin-1").encode() + b"\n")
    consul.put(PREFIX + "edge-sin-1/region", b"sin")
    consul.put(PREFIX + "half/public_key", key_of("half").encode())
    reading = await read(consul, layout="kv-fields")
    registration, half = reading.registrations
    assert (half.node.name, half.addresses) == ("half", ())
    assert registration.addresses == ("10.0.0.1/32", "fdaa::1/128")
    assert registration.region == "sin"
    written = consul.request("GET", f"/v1/kv/{PREFIX}edge-sin-1/ip").body
    assert f'"CreateIndex":{registration.create_index},'.encode() in written
    (invalid,) = reading.invalid
    assert invalid.node.name == "half"
    assert invalid.reason == "ip: missing or empty"


async def test_the_catalogs_node_meta_is_a_registry(consul: ConsulServer) -> None:
    """Nodes without mesh meta, such as the Consul server itself, are no mesh nodes."""
    meta = {"wg_key": key_of("edge-sin-1"), "wg_ip": "10.0.0.1", "region": "sin"}
    consul.register("edge-sin-1", "198.18.0.12", meta)
    consul.register("database", "198.18.0.13", {"region": "sin"})
    fields = {"public_key": "wg_key", "address": "wg_ip"}
    try:
        reading = await read(consul, layout="catalog", fields=fields)
    finally:
        for node in ("edge-sin-1", "database"):
            consul.request("PUT", "/v1/catalog/deregister", f'{{"Node": "{node}"}}'.encode())
    (registration,) = reading.registrations
    assert reading.gaps == ()
    assert registration.node.name == "edge-sin-1"
    assert registration.ssh_host == "198.18.0.12"
    assert registration.create_index


async def test_a_catalog_without_mesh_nodes_is_a_gap(consul: ConsulServer) -> None:
    gap = only_gap(await read(consul, layout="catalog"))
    assert gap.reason is GapReason.REGISTRY_EMPTY
    assert "consul.fields" in gap.detail


async def test_the_environment_that_python_consul_listens_to_has_no_effect(
    consul: ConsulServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither the library's variables, nor a proxy, nor a netrc, nor an odd address change what is asked."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password planted\n")
    rubbish: Mapping[str, str] = {
        "CONSUL_HTTP_ADDR": "not:an:address:at:all",
        "CONSUL_HTTP_TOKEN": "stale-token",
        "CONSUL_HTTP_SSL": "true",
        "CONSUL_HTTP_SSL_VERIFY": "true",
        "http_proxy": "http://127.0.0.1:9",
        "NETRC": str(netrc),
    }
    for name, value in rubbish.items():
        monkeypatch.setenv(name, value)
    consul.put(PREFIX + "mine", record("mine"))
    assert names(await read(consul)) == ["mine"]


async def test_20000_registrations_are_read(consul: ConsulServer) -> None:
    consul.put_many(
        {f"{PREFIX}n{i}": record(f"n{i}", f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}") for i in range(20_000)}
    )
    reading = await read(consul)
    assert (len(reading.registrations), reading.invalid, reading.gaps) == (20_000, (), ())


async def test_without_a_token_an_acl_hides_the_prefix_and_that_is_a_gap(guarded: ConsulServer) -> None:
    assert only_gap(await read(guarded)).reason is GapReason.PREFIX_NOT_FOUND


async def test_an_unknown_token_is_forbidden_and_stays_out_of_the_gap(guarded: ConsulServer) -> None:
    token = "11111111-2222-3333-4444-555555555555"
    gap = only_gap(await read(guarded, token))
    assert gap.reason is GapReason.CONSUL_FORBIDDEN
    assert token not in repr(gap)


async def test_a_token_that_may_read_the_prefix_sees_all_of_it(guarded: ConsulServer) -> None:
    token = guarded.create_token(f'key_prefix "{PREFIX}" {{ policy = "read" }}')
    assert names(await read(guarded, token)) == ["edge-sin-1", "worker-fra-1"]


async def test_consul_hides_half_a_prefix_without_a_word_or_with_a_gap(guarded: ConsulServer) -> None:
    """Before 1.11 nothing in the answer says so: the sweep must find out from the nodes' own peers."""
    token = guarded.create_token(f'key_prefix "{PREFIX}edge" {{ policy = "read" }}')
    reading = await read(guarded, token)
    assert names(reading) == ["edge-sin-1"]
    assert {gap.reason for gap in reading.gaps} <= {GapReason.CONSUL_FILTERED}


async def test_a_catalog_that_a_token_may_not_read_is_a_gap(guarded: ConsulServer) -> None:
    assert only_gap(await read(guarded, layout="catalog")).reason is GapReason.REGISTRY_EMPTY


async def test_doctor_learns_how_many_keys_the_token_lists(guarded: ConsulServer) -> None:
    assert await registry(guarded.url, guarded.token).listed() == 2
    hidden = await registry(guarded.url).listed()
    assert isinstance(hidden, Gap)
    assert hidden.reason is GapReason.PREFIX_NOT_FOUND


async def test_doctor_learns_the_leader(server: ConsulServer) -> None:
    leader = await registry(server.url).leader()
    assert isinstance(leader, str)
    assert leader.startswith("127.0.0.1:")


async def test_several_datacenters_are_read_and_a_dead_one_is_a_gap(folder: Path) -> None:
    """The nodes carry their datacenter; `*` finds them all; one that fails leaves the others standing."""
    with (
        ConsulServer(folder / "asia", datacenter="asia") as asia,
        ConsulServer(folder / "europe", datacenter="europe", join_wan=[asia.wan_address]) as europe,
    ):
        asia.put(PREFIX + "edge", record("edge-asia"))
        europe.put(PREFIX + "edge", record("edge-europe", "10.0.0.2"))
        both = ["edge@asia", "edge@europe"]
        assert names(await read(asia, datacenters=["asia", "europe", "asia"])) == both
        assert names(await read(asia, datacenters=["*"])) == both
        assert names(await read(asia)) == ["edge"]

        unknown = await read(asia, datacenters=["asia", "atlantis"])
        assert names(unknown) == ["edge@asia"]
        gap = only_gap(unknown)
        assert (gap.reason, gap.datacenter) == (GapReason.CONSUL_HTTP, "atlantis")
        assert "No path to datacenter" in gap.detail

        europe.stop()
        halved = await read(asia, datacenters=["*"], timeout=2.0)
        assert names(halved) == ["edge@asia"]
        assert only_gap(halved).datacenter == "europe"


async def test_tls_with_a_ca_and_a_client_certificate(folder: Path) -> None:
    tls = make_tls(folder / "tls")
    with ConsulServer(folder / "secure", tls=tls) as server:
        server.put(PREFIX + "mine", record("mine"))
        client: dict[str, Any] = {"cert_file": tls.client_cert, "key_file": tls.client_key}
        assert names(await read(server, ca_file=tls.ca, **client)) == ["mine"]

        untrusted = only_gap(await read(server, **client))
        assert untrusted.reason is GapReason.CONSUL_TLS
        assert "ca_file" in untrusted.detail

        elsewhere = f"https://localhost:{server.http_address.rpartition(':')[2]}"
        unnamed = only_gap(await registry(elsewhere, ca_file=tls.ca, **client).read())
        assert unnamed.reason is GapReason.CONSUL_TLS
        named = registry(elsewhere, ca_file=tls.ca, tls_server_name="server.dc1.consul", **client)
        assert names(await named.read()) == ["mine"]

        nameless = only_gap(await read(server, ca_file=tls.ca))
        assert nameless.reason is GapReason.CONSUL_TLS
        assert "cert_file" in nameless.detail

        plain = only_gap(await registry(f"http://{server.http_address}").read())
        assert plain.reason is GapReason.CONSUL_HTTP
        assert "HTTPS" in plain.detail


async def test_a_certificate_that_strict_verification_refuses_is_told_with_what_it_lacks(
    tmp_path: Path,
) -> None:
    """Before Python 3.13 verification was not strict, and the handshake is no gap."""
    files = make_tls(tmp_path, key_identifiers=False)
    with Double(tls=files) as double:
        gap = only_gap(await registry(double.url, ca_file=files.ca).read())
    strict = sys.version_info >= (3, 13)
    assert (gap.reason is GapReason.CONSUL_TLS) == strict
    assert ("issue it again with authorityKeyIdentifier = keyid" in gap.detail) == strict


async def test_https_on_a_plain_port_is_a_tls_gap(server: ConsulServer) -> None:
    gap = only_gap(await registry(f"https://{server.http_address}").read())
    assert gap.reason is GapReason.CONSUL_TLS
    assert "http://" in gap.detail


async def test_a_server_that_is_gone_is_unreachable(folder: Path) -> None:
    """Also where it was there a moment ago: each read stands for itself."""
    with ConsulServer(folder / "leaving") as server:
        server.put(PREFIX + "mine", record("mine"))
        reader = registry(server.url)
        assert names(await reader.read()) == ["mine"]
        server.stop()
        gap = only_gap(await reader.read())
        assert gap.reason is GapReason.CONSUL_UNREACHABLE
        assert "Connection refused" in gap.detail
        server.start()
        assert names(await reader.read()) == ["mine"]


async def test_a_name_that_does_not_resolve_is_unreachable() -> None:
    gap = only_gap(await registry("http://consul.invalid:8500").read())
    assert gap.reason is GapReason.CONSUL_UNREACHABLE
    assert "resolve" in gap.detail


async def test_a_server_that_never_accepts_is_a_timeout() -> None:
    """A full backlog drops the SYN, as a firewall does."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        gap = only_gap(await asyncio.wait_for(registry(f"http://127.0.0.1:{port}", timeout=0.5).read(), 10))
    assert gap.reason is GapReason.CONSUL_TIMEOUT


@pytest.mark.parametrize(
    "url",
    ["http://", "http://:8500", "http://host:port", "http://host:99999", "http://host?dc=x", "http://a b"],
)
def test_a_url_that_cannot_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises((ConfigError, ValueError), match="url"):
        registry(url)


@pytest.mark.parametrize("token", ["", "line\nend", " led-by-one", "naïve", "tab\there"])
def test_a_token_that_no_header_can_carry_is_an_error_that_does_not_show_it(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry("http://127.0.0.1:8500", token)
    assert "CONSUL_HTTP_TOKEN" in str(caught.value)
    assert not token or token not in str(caught.value)


def test_tls_files_that_are_missing_or_rubbish_are_configuration_errors(tmp_path: Path) -> None:
    rubbish = tmp_path / "ca.pem"
    rubbish.write_text("no certificate")
    with pytest.raises(ConfigError, match=r"consul\.ca_file"):
        registry("https://127.0.0.1:8501", ca_file=rubbish)
    with pytest.raises(ConfigError, match=r"consul\.ca_file: cannot read: No such file"):
        registry("https://127.0.0.1:8501", ca_file=tmp_path / "nowhere")
    mine, other = make_tls(tmp_path / "a"), make_tls(tmp_path / "b")
    with pytest.raises(ConfigError, match=r"consul\.cert_file"):
        registry("https://127.0.0.1:8501", cert_file=mine.client_cert, key_file=other.client_key)


def test_an_encrypted_key_is_an_error_and_asks_nobody_for_a_passphrase(tmp_path: Path) -> None:
    """OpenSSL would ask the terminal, and a cron job would hang."""
    tls = make_tls(tmp_path)
    plain = load_pem_private_key(tls.client_key.read_bytes(), None)
    lock = BestAvailableEncryption(b"passphrase")
    tls.client_key.write_bytes(plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    with pytest.raises(ConfigError, match="passphrase"):
        registry("https://127.0.0.1:8501", cert_file=tls.client_cert, key_file=tls.client_key)


def test_a_prefix_that_begins_with_a_slash_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"consul\.prefix"):
        registry("http://127.0.0.1:8500", prefix="/wireguard/")


def test_fields_default_to_the_contracts_names() -> None:
    assert set(ConsulFields().model_dump().values()) == {
        "public_key",
        "ip",
        "region",
        "endpoint",
        "ssh_host",
        "state",
    }
