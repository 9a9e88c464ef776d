"""Secrets are planted wherever one could lie, and must come out nowhere: a real Consul, real sshd, the real command."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.cli.command import wgaudit
from tests.nodes.stubs import StubNode, key
from tests.parts.consul import ConsulServer
from tests.parts.sshd import Sshd, make_key, public

PRIVATE = "WGPRIVATEkeyPLANTEDxxxxxxxxxxxxxxxxxxxxxxxA="
PRESHARED = "WGPRESHAREDkeyPLANTEDxxxxxxxxxxxxxxxxxxxxxA="
WEBHOOK = "https://hooks.example.net/services/T0PLANTED/B0PLANTED/webhookPLANTED"
# Parts that betray a secret even where it was cut or split.
PLANTED = ("WGPRIVATE", "WGPRESHARED", "PLANTED")

# What `wg show all dump` would print: the private key second, the preshared key third.
DUMP = (
    f"wg0\t{PRIVATE}\t{key(1)}\t51820\toff\n"
    f"wg0\t{key(2)}\t{PRESHARED}\t198.18.0.9:51820\t10.0.0.2/32\t0\t0\t0\toff\n"
)


class Planted:
    """A fleet full of secrets, its configuration, and the token that reads its registry."""

    def __init__(self, folder: Path, consul: ConsulServer, nodes: dict[str, Sshd]) -> None:
        self.folder = folder
        self.consul = consul
        self.nodes = nodes
        self.secrets = (*PLANTED, consul.token)

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> CompletedProcess[str]:
        """One run of the command with everything it says kept."""
        return wgaudit("--verbose", *arguments, folder=self.folder, environment=environment)

    def none_in(self, text: str) -> None:
        """Fails if any planted secret, or a recognisable part of one, stands in the text."""
        for secret in self.secrets:
            assert secret not in text


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    """Three nodes: a good one, one that prints its dump for everything, one whose wg fails with its key."""
    folder = tmp_path_factory.mktemp("secrets")
    identity = make_key(folder / "id")
    stubs = {
        "good-sin-1": StubNode(folder / "good", own=1),
        "talkative-fra-1": StubNode(folder / "talkative", own=2, addresses=("10.0.0.2/32",)),
        "failing-nrt-1": StubNode(folder / "failing", own=3, addresses=("10.0.0.3/32",)),
    }
    stubs["talkative-fra-1"].answer("allowed-ips", DUMP)
    stubs["failing-nrt-1"].script(
        "wg", f"#!/bin/sh\necho 'Key is not valid: {PRIVATE} {PRESHARED} {WEBHOOK}' >&2\nexit 1\n"
    )
    for stub in stubs.values():
        (stub.folder / "wg0.conf").write_text(f"[Interface]\nPrivateKey = {PRIVATE}\n")
    servers = {
        name: Sshd(folder / f"sshd-{name}", [public(identity)], environment={"PATH": stub.path})
        for name, stub in stubs.items()
    }
    with ConsulServer(folder / "consul", acl=True) as consul:
        try:
            for name, server in servers.items():
                server.__enter__()
                record = {
                    "private_key": PRIVATE,
                    "preshared_key": PRESHARED,
                    "alerts": {"webhook_url": WEBHOOK},
                    "public_key": stubs[name].key,
                    "ip": stubs[name].addresses[0],
                    "note": WEBHOOK,
                    "ssh_host": f"{server.host}:{server.port}",
                }
                consul.put(f"wireguard/nodes/{name}", json.dumps(record).encode())
            broken = {
                "private_key": PRIVATE,
                "webhook": WEBHOOK,
                "public_key": PRIVATE[:-9],
                "ip": "10.0.0.9",
            }
            consul.put("wireguard/nodes/broken-ams-1", json.dumps(broken).encode())
            consul.put("wireguard/nodes/bare-ams-2", f"{PRIVATE} {PRESHARED} {WEBHOOK}".encode())
            (folder / "known_hosts").write_text(
                "".join(server.known_hosts_line for server in servers.values())
            )
            (folder / "token").write_text(f"{consul.token}\n")
            (folder / "wgaudit.toml").write_text(
                f'[consul]\nurl = "{consul.url}"\ntoken_file = "token"\n'
                f'[ssh]\nidentity_files = ["{identity}"]\nknown_hosts = "known_hosts"\nagent = false\n'
                f'user = "{next(iter(servers.values())).user}"\n[sweep]\nconfirm_after = 0.0\n'
            )
            yield Planted(folder, consul, servers)
        finally:
            for server in servers.values():
                server.stop()


@pytest.mark.parametrize("form", ["table", "json"])
def test_no_report_and_no_log_holds_a_secret(fleet: Planted, form: str) -> None:
    done = fleet.run("sweep", "--format", form, "--endpoints", "--record", "sweep.json.gz")
    assert done.returncode == 1, done.stderr
    # The audit did meet the secrets: the talkative node and the failing one were asked and are gaps.
    assert done.stdout.count("unreadable-output") + done.stdout.count("no-device") >= 1
    assert "invalid-registration" in done.stdout
    fleet.none_in(done.stdout)
    fleet.none_in(done.stderr)


def test_no_recording_holds_a_secret(fleet: Planted) -> None:
    fleet.run("sweep", "--record", "kept.json.gz")
    fleet.none_in(gzip.decompress((fleet.folder / "kept.json.gz").read_bytes()).decode())


@pytest.mark.parametrize("target", ["10.0.0.1", "good-sin-1", "talkative-fra-1", "broken-ams-1"])
def test_no_explanation_holds_a_secret(fleet: Planted, target: str) -> None:
    done = fleet.run("explain", target)
    assert done.returncode == 0, done.stderr
    fleet.none_in(done.stdout + done.stderr)


def test_the_doctor_tells_no_secret(fleet: Planted) -> None:
    for node in fleet.nodes:
        done = fleet.run("doctor", "--node", node)
        assert "Consul and its leader" in done.stdout
        fleet.none_in(done.stdout + done.stderr)


def test_a_refused_token_is_told_without_the_token(fleet: Planted) -> None:
    """Whether it comes from the environment, and whatever is wrong with it."""
    for wrong in ("WGPRIVATE-not-a-token", "PLANTED\ntoken", "PLANTED tökén \u2603"):
        (fleet.folder / "other.toml").write_text(f'[consul]\nurl = "{fleet.consul.url}"\n')
        done = fleet.run("sweep", "--config", "other.toml", environment={"CONSUL_HTTP_TOKEN": wrong})
        assert done.returncode in (2, 3)
        fleet.none_in(done.stdout + done.stderr)


def test_a_token_under_a_wrong_key_is_told_without_the_token(fleet: Planted) -> None:
    (fleet.folder / "typo.toml").write_text(f'[consul]\ntokn = "{PRIVATE}"\ntimeout = "{WEBHOOK}"\n')
    done = fleet.run("sweep", "--config", "typo.toml")
    assert done.returncode == 2
    fleet.none_in(done.stdout + done.stderr)


def test_a_traceback_of_a_surprise_holds_no_secret(fleet: Planted) -> None:
    """`--verbose` prints one: here an address in the configuration that makes the client library stumble."""
    (fleet.folder / "odd.toml").write_text(
        f'[consul]\nurl = "http://127.0.0.1:99999/x"\ntoken = "{PRIVATE}"\ntimeout = 1.0\n'
    )
    done = fleet.run("sweep", "--config", "odd.toml")
    assert done.returncode in (2, 3)
    fleet.none_in(done.stdout + done.stderr)


def test_the_token_is_in_no_process_list_and_no_environment_of_a_node(fleet: Planted) -> None:
    for name in ("good",):
        script = fleet.folder / name / "calls"
        fleet.run("sweep")
        fleet.none_in(script.read_text())
        assert "dump" not in script.read_text()
        assert "showconf" not in script.read_text()
