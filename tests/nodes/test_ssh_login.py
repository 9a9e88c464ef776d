"""The way to a node: host keys, logging in, jump hosts, and every way that it can be blocked."""

from __future__ import annotations

import asyncio
import base64
import hmac
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from auditor.errors import GapReason
from auditor.nodes.table_store import TableStore
from tests.nodes.bench import Bench
from tests.parts.sshd import keygen, make_key, public, sign_user_key


async def test_an_unknown_host_key_is_refused_with_its_fingerprint(bench: Bench) -> None:
    server = bench.sshd(known=False)
    error = await bench.refused(server)
    assert error.reason is GapReason.HOST_KEY
    assert server.fingerprint in error.detail
    assert "has no key for it" in error.detail
    assert str(bench.known_hosts) in error.detail
    assert "Accepted" not in server.log()


async def test_a_changed_host_key_is_refused_and_called_so(bench: Bench) -> None:
    server = bench.sshd(known=False)
    other = public(make_key(bench.folder / "other"))
    bench.known_hosts.write_text(f"[{server.host}]:{server.port} {other}\n")
    error = await bench.refused(server)
    assert error.reason is GapReason.HOST_KEY
    assert server.fingerprint in error.detail
    assert "another key" in error.detail


async def test_a_host_key_of_another_kind_than_the_known_one_is_refused(bench: Bench) -> None:
    server = bench.sshd(known=False)
    other = public(make_key(bench.folder / "other", kind="ecdsa"))
    bench.known_hosts.write_text(f"[{server.host}]:{server.port} {other}\n")
    error = await bench.refused(server)
    assert error.reason is GapReason.HOST_KEY
    assert server.fingerprint in error.detail


async def test_a_revoked_host_key_is_refused(bench: Bench) -> None:
    server = bench.sshd()
    bench.known_hosts.write_text(f"{server.known_hosts_line}@revoked * {public(server.host_key)}\n")
    assert (await bench.refused(server)).reason is GapReason.HOST_KEY


async def test_a_revoked_host_key_is_refused_although_its_line_is_hashed(bench: Bench) -> None:
    server = bench.sshd()
    salt = bytes(20)
    digest = hmac.digest(salt, f"[{server.host}]:{server.port}".encode(), "sha1")
    host = "|1|" + "|".join(base64.b64encode(part).decode() for part in (salt, digest))
    bench.known_hosts.write_text(f"{server.known_hosts_line}@revoked {host} {public(server.host_key)}\n")
    assert (await bench.refused(server)).reason is GapReason.HOST_KEY


async def test_hashed_known_hosts_are_trusted(bench: Bench) -> None:
    server = bench.sshd()
    keygen("-q", "-H", "-f", str(bench.known_hosts))
    assert "127.0.0.1" not in bench.known_hosts.read_text()
    assert (await bench.observe(server)).host_key == server.fingerprint


async def test_a_host_certificate_is_trusted_by_its_authority(bench: Bench) -> None:
    """The observation names the certified key, which tells hosts apart; the authority's would not."""
    authority = make_key(bench.folder / "authority")
    server = bench.sshd(authority=authority, known=False)
    bench.known_hosts.write_text(f"@cert-authority * {public(authority)}\n")
    assert (await bench.observe(server)).host_key == server.fingerprint


async def test_a_host_certificate_of_another_authority_is_refused(bench: Bench) -> None:
    server = bench.sshd(authority=make_key(bench.folder / "authority"), known=False)
    bench.known_hosts.write_text(f"@cert-authority * {public(make_key(bench.folder / 'other'))}\n")
    error = await bench.refused(server)
    assert error.reason is GapReason.HOST_KEY
    assert "authority" in error.detail


async def test_a_key_that_the_server_does_not_know_is_a_gap(bench: Bench) -> None:
    assert (await bench.refused(bench.sshd(authorized=[]))).reason is GapReason.AUTH


async def test_a_user_certificate_beside_the_identity_is_used(bench: Bench) -> None:
    authority = make_key(bench.folder / "authority")
    server = bench.sshd(authorized=[], lines=[f"TrustedUserCAKeys {authority}.pub"])
    sign_user_key(authority, bench.identity, principal=server.user)
    assert (await bench.observe(server)).device == bench.node.device
    assert "Accepted publickey for" in server.log()
    assert "ED25519-CERT" in server.log()


async def test_the_agents_key_is_used_where_no_identity_is_named(
    bench: Bench, agent: Callable[[Path], None]
) -> None:
    agent(bench.identity)
    assert (await bench.observe(bench.sshd(), identity_files=())).device == bench.node.device


async def test_the_agent_is_left_alone_where_the_settings_say_so(
    bench: Bench, agent: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(bench.folder))
    agent(bench.identity)
    error = await bench.refused(bench.sshd(), identity_files=(), agent=False)
    assert error.reason is GapReason.AUTH


async def test_named_identities_are_not_drowned_in_the_agents_other_keys(
    bench: Bench, agent: Callable[[Path], None]
) -> None:
    """A server ends the login after a few wrong keys."""
    for number in range(8):
        agent(make_key(bench.folder / f"other{number}"))
    assert (await bench.observe(bench.sshd())).device == bench.node.device


async def test_an_identity_with_a_passphrase_is_used_through_the_agent(
    bench: Bench, agent: Callable[[Path], None]
) -> None:
    agent(bench.identity)
    keygen("-q", "-p", "-N", "a passphrase", "-f", str(bench.identity))
    assert (await bench.observe(bench.sshd())).device == bench.node.device


async def test_an_alias_of_sshs_configuration_gives_host_port_and_user(bench: Bench) -> None:
    server = bench.sshd()
    config = bench.folder / "config"
    config.write_text(
        f"Host edge-fra-1\n HostName {server.host}\n Port {server.port}\n User {server.user}\n"
        "Host *\n User nobody\n"
    )
    seen = await bench.observe("edge-fra-1", config_file=config, user="default")
    assert seen.host_key == server.fingerprint


async def test_settings_come_before_sshs_configuration(bench: Bench) -> None:
    server = bench.sshd()
    config = bench.folder / "config"
    config.write_text(
        "Host *\n User nobody\n Port 1\n UserKnownHostsFile /dev/null\n StrictHostKeyChecking no\n"
    )
    assert (await bench.observe(server, config_file=config)).host_key == server.fingerprint
    bench.known_hosts.write_text("")
    assert (await bench.refused(server, config_file=config)).reason is GapReason.HOST_KEY


async def test_a_node_is_reached_over_a_jump_host(bench: Bench) -> None:
    jump, server = bench.sshd("jump"), bench.sshd()
    seen = await bench.observe(server, proxy_jump=f"{jump.user}@{jump.host}:{jump.port}")
    assert seen.host_key == server.fingerprint
    assert "Accepted publickey" in jump.log()


async def test_many_nodes_share_one_connection_to_the_jump_host(bench: Bench) -> None:
    """A bastion drops connections when too many start at once (MaxStartups)."""
    jump, server = bench.sshd("jump"), bench.sshd()
    nodes = bench.nodes(proxy_jump=f"{jump.user}@{jump.host}:{jump.port}")
    tables = TableStore()
    await asyncio.gather(*(nodes.observe(bench.registered(server, f"n{n}"), tables) for n in range(4)))
    assert jump.log().count("Accepted publickey") == 1
    assert server.log().count("Accepted publickey") == 4


async def test_a_chain_of_jump_hosts_is_followed(bench: Bench) -> None:
    first, second, server = bench.sshd("first"), bench.sshd("second"), bench.sshd()
    hops = ",".join(f"{jump.user}@{jump.host}:{jump.port}" for jump in (first, second))
    assert (await bench.observe(server, proxy_jump=hops)).host_key == server.fingerprint
    assert "Accepted publickey" in first.log()
    assert "Accepted publickey" in second.log()


async def test_a_jump_host_of_sshs_configuration_is_followed(bench: Bench) -> None:
    jump, server = bench.sshd("jump"), bench.sshd()
    config = bench.folder / "config"
    config.write_text(
        f"Host edge-fra-1\n HostName {server.host}\n Port {server.port}\n ProxyJump bastion\n"
        f"Host bastion\n HostName {jump.host}\n Port {jump.port}\n User {jump.user}\n"
    )
    assert (await bench.observe("edge-fra-1", config_file=config)).host_key == server.fingerprint
    assert "Accepted publickey" in jump.log()


async def test_the_jump_hosts_key_is_checked_too(bench: Bench) -> None:
    jump, server = bench.sshd("jump", known=False), bench.sshd()
    error = await bench.refused(server, proxy_jump=f"{jump.user}@{jump.host}:{jump.port}")
    assert error.reason is GapReason.HOST_KEY
    assert "jump host" in error.detail
    assert "Accepted" not in jump.log()


async def test_a_refusal_behind_the_jump_host_is_told_apart(bench: Bench) -> None:
    jump = bench.sshd("jump")
    error = await bench.refused(closed_port(), proxy_jump=f"{jump.user}@{jump.host}:{jump.port}")
    assert error.reason is GapReason.CONNECT_REFUSED
    assert "the jump host says" in error.detail


def closed_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


async def test_nobody_listening_is_connect_refused(bench: Bench) -> None:
    assert (await bench.refused(closed_port())).reason is GapReason.CONNECT_REFUSED


async def test_a_name_with_two_addresses_that_both_refuse_is_connect_refused(bench: Bench) -> None:
    """The errors of both come as one, without a number."""
    port = closed_port().rpartition(":")[2]
    assert (await bench.refused(f"localhost:{port}")).reason is GapReason.CONNECT_REFUSED


async def test_a_server_that_never_answers_is_connect_timeout(bench: Bench) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        error = await bench.refused(host, connect_timeout=0.3)
    assert error.reason is GapReason.CONNECT_TIMEOUT
    assert "login did not end" in error.detail


async def test_a_server_that_says_who_it_is_and_no_more_is_login_timeout(bench: Bench) -> None:
    over = asyncio.Event()

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-slow\r\n")
        await over.wait()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        error = await bench.refused(host, connect_timeout=0.5)
        over.set()
    assert error.reason is GapReason.LOGIN_TIMEOUT


async def test_a_name_that_does_not_resolve_is_resolve(bench: Bench) -> None:
    assert (await bench.refused("no-such-host.invalid")).reason is GapReason.RESOLVE


async def test_a_server_that_is_no_ssh_server_is_ssh_protocol(bench: Bench) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 2000)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        error = await bench.refused(host)
    assert error.reason in (GapReason.SSH_PROTOCOL, GapReason.CONNECTION_LOST)


async def test_a_server_that_hangs_up_is_connection_lost(bench: Bench) -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert (await bench.refused(host)).reason is GapReason.CONNECTION_LOST


async def test_a_name_that_leads_to_a_mesh_address_is_mesh_host(bench: Bench) -> None:
    """A literal mesh address is refused before anything is sent; a name only shows it when it is reached."""
    server = bench.sshd()
    bench.known_hosts.write_text(f"[localhost]:{server.port} {public(server.host_key)}\n")
    error = await bench.refused(f"localhost:{server.port}", mesh=("127.0.0.1",))
    assert error.reason is GapReason.MESH_HOST
    assert bench.node.calls == []
