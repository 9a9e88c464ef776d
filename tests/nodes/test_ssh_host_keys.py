"""Hashed known_hosts against real servers: found by the key that is shown, and never trusted for less reason."""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Callable

import pytest

from auditor.errors import GapReason, ProbeError
from auditor.nodes.table_store import TableStore
from tests.cases import CASES
from tests.nodes.bench import Bench
from tests.parts.sshd import Sshd, keygen, make_key, public


def place(server: Sshd) -> str:
    return f"[{server.host}]:{server.port}"


def hashed(name: str, key: str, marker: str = "") -> str:
    """One line as `ssh-keygen -H` writes it."""
    salt = os.urandom(20)
    parts = (salt, hmac.digest(salt, name.encode(), "sha1"))
    host = "|1|" + "|".join(base64.b64encode(part).decode() for part in parts)
    return f"{marker} {host} {key}\n".lstrip()


def connections(server: Sshd) -> int:
    return server.log().count("Connection from")


async def test_one_connection_does_where_the_shown_key_is_in_a_hashed_line(bench: Bench) -> None:
    server = bench.sshd(known=False)
    others = [hashed(f"host{n}", public(make_key(bench.folder / f"k{n}"))) for n in range(3)]
    bench.known_hosts.write_text("".join((*others, hashed(place(server), public(server.host_key)))))
    assert (await bench.observe(server)).host_key == server.fingerprint
    assert connections(server) == 1


async def test_a_changed_key_is_refused_and_called_so_although_its_line_is_hashed(bench: Bench) -> None:
    server = bench.sshd(known=False)
    bench.known_hosts.write_text(hashed(place(server), public(make_key(bench.folder / "other"))))
    error = await bench.refused(server)
    assert error.reason is GapReason.HOST_KEY
    assert server.fingerprint in error.detail
    assert "another key" in error.detail
    assert "Accepted" not in server.log()


@pytest.mark.parametrize("name", ["another.example.net", "[127.0.0.1]:1"])
async def test_the_key_of_another_host_in_the_file_is_refused(bench: Bench, name: str) -> None:
    """The key is in the file, but not for this host: just what an intruder with one node's key would show."""
    server = bench.sshd(known=False)
    mine = hashed(place(server), public(make_key(bench.folder / "mine")))
    bench.known_hosts.write_text(mine + hashed(name, public(server.host_key)))
    error = await bench.refused(server)
    assert error.reason is GapReason.HOST_KEY
    assert "another key" in error.detail
    bench.known_hosts.write_text(hashed(name, public(server.host_key)))
    error = await bench.refused(server)
    assert error.reason is GapReason.HOST_KEY
    assert "has no key for it" in error.detail
    assert "Accepted" not in server.log()


@pytest.mark.parametrize("trusted_by", ["hashed", "plain"])
@pytest.mark.parametrize("revoked_as", ["[127.0.0.1]:{port}", "127.0.0.1"])
async def test_a_key_that_a_hashed_line_revokes_is_refused(
    bench: Bench, trusted_by: str, revoked_as: str
) -> None:
    server = bench.sshd(known=False)
    key = public(server.host_key)
    trust = hashed(place(server), key) if trusted_by == "hashed" else server.known_hosts_line
    name = revoked_as.format(port=server.port)
    # So that there is a short way to go.
    other = hashed("another.example.net", public(make_key(bench.folder / "other")))
    bench.known_hosts.write_text(trust + other + hashed(name, key, "@revoked"))
    assert (await bench.refused(server)).reason is GapReason.HOST_KEY
    assert "Accepted" not in server.log()


@pytest.mark.parametrize(
    ("trusted", "revoked"), [("[127.0.0.1]:{port}", "127.0.0.1"), ("127.0.0.1", "[127.0.0.1]:{port}")]
)
async def test_a_key_is_revoked_with_the_port_or_without(bench: Bench, trusted: str, revoked: str) -> None:
    server = bench.sshd(known=False)
    trusted, revoked = (name.format(port=server.port) for name in (trusted, revoked))
    key = public(server.host_key)
    bench.known_hosts.write_text(f"{trusted} {key}\n@revoked {revoked} {key}\n")
    assert (await bench.refused(server)).reason is GapReason.HOST_KEY


async def test_a_revoked_key_is_refused_for_its_host_alone(bench: Bench) -> None:
    server = bench.sshd(known=False)
    key = public(server.host_key)
    revoked = hashed("another.example.net", key, "@revoked")
    bench.known_hosts.write_text(hashed(place(server), key) + revoked)
    assert (await bench.observe(server)).host_key == server.fingerprint


async def test_a_plain_pattern_revokes_what_a_hashed_line_trusts(bench: Bench) -> None:
    server = bench.sshd(known=False)
    key = public(server.host_key)
    bench.known_hosts.write_text(hashed(place(server), key) + f"@revoked * {key}\n")
    assert (await bench.refused(server)).reason is GapReason.HOST_KEY


async def test_an_authority_in_a_hashed_line_is_trusted_for_its_host_alone(bench: Bench) -> None:
    authority = make_key(bench.folder / "authority")
    server = bench.sshd(authority=authority, known=False)
    other = hashed("another.example.net", public(make_key(bench.folder / "other")))
    bench.known_hosts.write_text(other + hashed(place(server), public(authority), "@cert-authority"))
    assert (await bench.observe(server)).host_key == server.fingerprint
    assert connections(server) == 1
    bench.known_hosts.write_text(other + hashed("another.example.net", public(authority), "@cert-authority"))
    error = await bench.refused(server)
    assert error.reason is GapReason.HOST_KEY
    assert "authority" in error.detail


async def test_an_authority_is_not_taken_for_a_host_key(bench: Bench) -> None:
    """A server that holds the authority's own key is not the host."""
    server = bench.sshd(known=False)
    other = hashed("another.example.net", public(make_key(bench.folder / "other")))
    line = hashed(place(server), public(server.host_key), "@cert-authority")
    bench.known_hosts.write_text(other + line)
    assert (await bench.refused(server)).reason is GapReason.HOST_KEY


async def test_a_host_that_is_known_by_its_rsa_key_alone_is_asked_for_that(bench: Bench) -> None:
    """The file's other hosts are known by ed25519, which this server has as well and shows first."""
    rsa = make_key(bench.folder / "rsa", kind="rsa")
    server = bench.sshd(known=False, lines=[f"HostKey {rsa}"])
    others = [hashed(f"host{n}", public(make_key(bench.folder / f"k{n}"))) for n in range(2)]
    bench.known_hosts.write_text("".join((*others, hashed(place(server), public(rsa)))))
    seen = await bench.observe(server)
    assert seen.host_key is not None
    assert seen.host_key != server.fingerprint


async def test_kinds_of_keys_are_asked_for_in_the_files_own_order(bench: Bench) -> None:
    rsa = make_key(bench.folder / "rsa", kind="rsa")
    server = bench.sshd(known=False, lines=[f"HostKey {rsa}"])
    other = hashed("another.example.net", public(make_key(bench.folder / "other", kind="rsa")))
    bench.known_hosts.write_text(other + hashed(place(server), public(rsa)))
    assert (await bench.observe(server)).host_key != server.fingerprint
    assert connections(server) == 1


async def test_a_hashed_name_without_the_port_is_good_where_no_line_has_the_port(bench: Bench) -> None:
    server = bench.sshd(known=False)
    key = public(server.host_key)
    bench.known_hosts.write_text(hashed(server.host, key))
    assert (await bench.observe(server)).host_key == server.fingerprint
    with_port = hashed(place(server), public(make_key(bench.folder / "other")))
    bench.known_hosts.write_text(hashed(server.host, key) + with_port)
    error = await bench.refused(server)
    assert error.reason is GapReason.HOST_KEY
    assert "another key" in error.detail


async def test_plain_lines_count_beside_hashed_ones(bench: Bench) -> None:
    server = bench.sshd(known=False)
    other = public(make_key(bench.folder / "other"))
    bench.known_hosts.write_text(server.known_hosts_line + hashed("another.example.net", other))
    assert (await bench.observe(server)).host_key == server.fingerprint
    assert connections(server) == 1
    plain = f"{place(server)} {other}\n"
    bench.known_hosts.write_text(plain + hashed(place(server), public(server.host_key)))
    assert (await bench.observe(server)).host_key == server.fingerprint
    bench.known_hosts.write_text(plain + hashed("another.example.net", public(server.host_key)))
    assert "another key" in (await bench.refused(server)).detail


async def test_a_jump_host_in_a_hashed_line_is_checked_like_a_node(bench: Bench) -> None:
    jump, server = bench.sshd("jump", known=False), bench.sshd(known=False)
    way = f"{jump.user}@{jump.host}:{jump.port}"
    node = hashed(place(server), public(server.host_key))
    bench.known_hosts.write_text(node + hashed(place(jump), public(jump.host_key)))
    assert (await bench.observe(server, proxy_jump=way)).host_key == server.fingerprint
    bench.known_hosts.write_text(node + hashed(place(jump), public(server.host_key)))
    error = await bench.refused(server, proxy_jump=way)
    assert (error.reason, "jump host" in error.detail) == (GapReason.HOST_KEY, True)


async def test_who_has_said_which_kinds_to_ask_for_is_obeyed(bench: Bench) -> None:
    rsa = make_key(bench.folder / "rsa", kind="rsa")
    server = bench.sshd(known=False, lines=[f"HostKey {rsa}"])
    config = bench.folder / "config"
    config.write_text("Host *\n HostKeyAlgorithms rsa-sha2-512\n")
    keys = (public(server.host_key), public(rsa))
    bench.known_hosts.write_text("".join(hashed(place(server), key) for key in keys))
    assert (await bench.observe(server, config_file=config)).host_key != server.fingerprint


@pytest.mark.parametrize("form", ["plain", "hashed"])
async def test_a_key_that_is_known_for_the_address_says_nothing_for_the_name(
    bench: Bench, form: str, ssh: Callable[..., bool]
) -> None:
    server = bench.sshd(known=False)
    template = (CASES / "nodes/02-key-known-by-address/known_hosts.template").read_text()
    other = public(make_key(bench.folder / "other"))
    for lines in (template, template.splitlines()[1] + "\n", template + "node-a OTHERKEY\n"):
        text = lines.replace("PORT", str(server.port)).replace("SERVERKEY", public(server.host_key))
        bench.known_hosts.write_text(text.replace("OTHERKEY", other))
        if form == "hashed":
            keygen("-q", "-H", "-f", str(bench.known_hosts))
        for alias in ("", "node-a"):
            config = bench.folder / "config"
            config.write_text(f"HostKeyAlias {alias}\n" if alias else "")
            error = await bench.refused(f"localhost:{server.port}", config_file=config)
            assert error.reason is GapReason.HOST_KEY
            assert not ssh(bench, server, "localhost", config)
    assert "Accepted" not in server.log()


async def test_where_an_alias_is_set_it_alone_is_looked_up(bench: Bench, ssh: Callable[..., bool]) -> None:
    server = bench.sshd(known=False)
    config = bench.folder / "config"
    config.write_text("Host *\n HostKeyAlias Node-A\n")
    bench.known_hosts.write_text(f"node-a {public(server.host_key)}\n")
    assert ssh(bench, server, server.host, config)
    assert (await bench.observe(server, config_file=config)).host_key == server.fingerprint
    for name in (place(server), server.host, f"[node-a]:{server.port}"):
        bench.known_hosts.write_text(f"{name} {public(server.host_key)}\n")
        assert not ssh(bench, server, server.host, config)
        assert (await bench.refused(server, config_file=config)).reason is GapReason.HOST_KEY


async def test_a_jump_hosts_key_that_is_known_for_its_address_says_nothing_for_its_name(bench: Bench) -> None:
    jump, server = bench.sshd("jump"), bench.sshd()
    error = await bench.refused(server, proxy_jump=f"{jump.user}@localhost:{jump.port}")
    assert (error.reason, "jump host" in error.detail) == (GapReason.HOST_KEY, True)


async def test_capitals_in_a_name_are_lowered(bench: Bench, ssh: Callable[..., bool]) -> None:
    server = bench.sshd(known=False)
    template = (CASES / "nodes/07-capitals/known_hosts.template").read_text()
    text = template.replace("PORT", str(server.port)).replace("SERVERKEY", public(server.host_key))
    bench.known_hosts.write_text(text)
    config = bench.folder / "config"
    config.write_text("")
    assert ssh(bench, server, "LocalHost", config)
    registered = (CASES / "nodes/07-capitals/registration").read_text().split()[-1]
    assert (await bench.observe(registered.replace("PORT", str(server.port)))).host_key == server.fingerprint


async def test_a_banner_in_a_comment_trusts_no_impostor(bench: Bench) -> None:
    server = bench.sshd(known=False)
    bench.known_hosts.write_bytes(f"# SSH-2.0-x\x0c* {public(server.host_key)}\n".encode())
    assert (await bench.refused(server)).reason is GapReason.HOST_KEY


@pytest.mark.parametrize("trusted", [True, False])
async def test_the_plain_key_counts_where_its_certificate_does_not(
    bench: Bench, trusted: bool, ssh: Callable[..., bool]
) -> None:
    """Expired, for another name, or by an authority that is not trusted."""
    authority = make_key(bench.folder / "authority")
    server = bench.sshd(authority=authority, known=False)
    other = public(make_key(bench.folder / "other"))
    config = bench.folder / "config"
    config.write_text("")
    keygen("-q", "-s", str(authority), "-I", "host", "-h", "-n", "elsewhere", f"{server.host_key}.pub")
    key = public(server.host_key) if trusted else other
    for authorities in ("", f"@cert-authority * {other}\n"):
        bench.known_hosts.write_text(f"{place(server)} {key}\n{authorities}")
        assert ssh(bench, server, server.host, config) is trusted
        if trusted:
            assert (await bench.observe(server)).host_key == server.fingerprint
        else:
            assert (await bench.refused(server)).reason is GapReason.HOST_KEY


async def test_a_host_that_is_added_while_a_watch_runs_is_trusted_from_its_next_round_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    server = bench.sshd(known=False)
    nodes, registered = bench.nodes(), bench.registered(server)
    with pytest.raises(ProbeError) as refused:
        await nodes.observe(registered, TableStore())
    assert refused.value.reason is GapReason.HOST_KEY
    bench.known_hosts.write_text(server.known_hosts_line)
    nodes.expect([registered])
    assert (await nodes.observe(registered, TableStore())).host_key == server.fingerprint
    # What cannot be used is said once, and what was known stays known.
    bench.known_hosts.write_text(f"{server.known_hosts_line}@revoked * ssh-ed25519 AAAA\n")
    nodes.expect([registered])
    nodes.expect([registered])
    assert (await nodes.observe(registered, TableStore())).host_key == server.fingerprint
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["ssh.known_hosts"]
