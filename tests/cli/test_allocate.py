"""`wgaudit allocate`, `release` and `adopt` as provisioning calls them, and docs/prevention.md as it is copied from."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.command import WGAUDIT, clean_environment, one_line, wgaudit
from tests.parts import program_path
from tests.parts.consul import ConsulServer
from tests.registry.records_of import PREFIX, key_of, record
from tests.repair.registry import CLAIMS

pytestmark = pytest.mark.xdist_group("consul")

PREVENTION = Path(__file__).parents[2] / "docs" / "prevention.md"
KEY = key_of("edge-1")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """One server with ACLs, default deny: a token must do what the document says that it may."""
    with ConsulServer(tmp_path_factory.mktemp("consul"), acl=True) as running:
        yield running


@pytest.fixture(scope="module")
def token(guarded: ConsulServer) -> str:
    """A token with the policy that the document gives, and nothing else."""
    (policy,) = blocks("hcl")
    return guarded.create_token(policy)


@pytest.fixture
def home(guarded: ConsulServer, token: str, tmp_path: Path) -> Iterator[Path]:
    """A folder with a configuration of an empty registry; afterwards it is empty again."""
    (tmp_path / "token").write_text(token)
    (tmp_path / "wgaudit.toml").write_text(
        f'[consul]\nurl = "{guarded.url}"\ntoken_file = "{tmp_path}/token"\n[repair]\ntimeout = 20.0\n'
        '[regions.pools]\nsin = "10.16.0.0/24"\nv6 = "fd00:10::/64"\n'
    )
    (tmp_path / "token").chmod(0o600)
    yield tmp_path
    guarded.delete("wireguard/", recurse=True)


def blocks(language: str, heading: str = "") -> list[str]:
    """The document's fenced blocks in a language, of one section or of all."""
    text = PREVENTION.read_text(encoding="utf-8")
    if heading:
        text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def asked(
    home: Path, *more: str, node: str = "edge-1", region: str = "sin"
) -> subprocess.CompletedProcess[str]:
    """One call of `wgaudit allocate`."""
    options = ("--node", node, "--public-key", key_of(node), "--region", region)
    return wgaudit("allocate", *options, *more, folder=home)


# The commands


def test_from_an_adopted_registry_to_an_address_and_back(home: Path, guarded: ConsulServer) -> None:
    """With a token that has the documented policy only."""
    guarded.put(PREFIX + "old", record("old", "10.16.0.5"))
    adopted = wgaudit("adopt", folder=home)
    assert (adopted.returncode, adopted.stderr) == (0, "")
    assert adopted.stdout == "1 registered addresses have a claim; 1 claims written\n"
    first = asked(home, "--endpoint", "198.18.0.7:51820", "--ssh-host", "edge-1.example.net")
    assert (first.returncode, first.stderr) == (0, "")
    assert re.fullmatch(r"10\.16\.0\.\d+\n", first.stdout)
    again = asked(home, "--format", "json")
    address = first.stdout.strip()
    assert json.loads(again.stdout) == {
        "node": "edge-1",
        "public_key": KEY,
        "address": address,
        "created": False,
    }
    checked = wgaudit("adopt", "--check", folder=home)
    assert (checked.returncode, checked.stdout) == (0, "claims and registrations agree\n")
    released = wgaudit("release", "--node", "edge-1", folder=home)
    assert released.returncode == 0
    assert released.stdout.startswith(f"{address}  released, for nobody before ")
    assert wgaudit("release", "--node", "edge-1", folder=home).stdout == "edge-1  holds no address\n"


def test_a_registry_with_duplicates_is_refused_with_the_findings(home: Path, guarded: ConsulServer) -> None:
    guarded.put(PREFIX + "a", record("a", "10.16.0.5"))
    guarded.put(PREFIX + "b", record("b", "10.16.0.5"))
    refused = wgaudit("adopt", folder=home)
    assert refused.returncode == 1
    assert "CONTESTED ADDRESSES" in refused.stdout
    assert "10.16.0.5" in refused.stdout
    assert "nothing was adopted: 1 finding stands against it" in one_line(refused.stderr)
    assert guarded.request("GET", f"/v1/kv/{CLAIMS}?keys").status == 404


def test_a_disagreement_is_told_and_makes_exit_code_1(home: Path, guarded: ConsulServer) -> None:
    wgaudit("adopt", folder=home)
    guarded.put(PREFIX + "a", record("a", "10.16.0.5"))
    checked = wgaudit("adopt", "--check", folder=home)
    assert checked.returncode == 1
    assert checked.stdout == "differs: 10.16.0.5 is registered for a and has no claim\n"


def test_no_address_is_exit_code_1_one_line_and_an_empty_stdout(home: Path, guarded: ConsulServer) -> None:
    wgaudit("adopt", folder=home)
    guarded.put(PREFIX + "edge-1", record("somebody else", "10.16.0.5"))
    refused = asked(home)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "it is registered with another key" in one_line(refused.stderr)


def test_a_consul_that_is_not_there_gives_no_address(home: Path) -> None:
    config = home / "down.toml"
    config.write_text('[consul]\nurl = "http://127.0.0.1:9"\n[repair]\ntimeout = 0.5\n')
    for command in (
        ["allocate", "--node", "edge-1", "--public-key", KEY, "--region", "sin"],
        ["release", "--node", "edge-1"],
        ["adopt"],
        ["adopt", "--check"],
    ):
        refused = wgaudit(*command, "--config", config, folder=home)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "Connection refused; is Consul running there?" in one_line(refused.stderr)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--node", "a/b", "--public-key", KEY, "--region", "sin"], "not a node's name"),
        (["--node", "a", "--public-key", "swordfish", "--region", "sin"], "not a public key"),
        (["--node", "a", "--public-key", KEY, "--region", "ams"], "'ams' is not in [regions.pools]"),
        (["--node", "a", "--public-key", KEY, "--region", "sin", "--endpoint", "x"], "not an endpoint"),
    ],
)
def test_words_that_cannot_be_used_are_one_line_and_exit_code_2(
    home: Path, arguments: list[str], says: str
) -> None:
    refused = wgaudit("allocate", *arguments, folder=home)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert says in one_line(refused.stderr)
    assert "swordfish" not in refused.stderr


def test_a_layout_that_holds_no_claims_is_one_line_and_exit_code_2(home: Path) -> None:
    config = home / "fields.toml"
    config.write_text('[consul]\nlayout = "kv-fields"\n')
    refused = asked(home, "--config", str(config))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert 'claims need layout = "kv-json"' in one_line(refused.stderr)


def test_a_registry_without_claims_is_refused_with_what_to_do(home: Path) -> None:
    refused = asked(home)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "run `wgaudit adopt` once" in one_line(refused.stderr)


def test_an_address_that_cannot_be_printed_is_no_success(home: Path) -> None:
    wgaudit("adopt", folder=home)
    with Path("/dev/full").open("wb") as full:
        answer = subprocess.run(
            [WGAUDIT, "allocate", "--node", "edge-1", "--public-key", KEY, "--region", "sin"],
            cwd=home,
            env=clean_environment(home),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert answer.returncode == 1
    assert "could not be printed: No space left on device; call again" in answer.stderr


# The token's policy


def test_a_token_that_may_not_write_claims_fails_at_once_and_clearly(
    home: Path, guarded: ConsulServer
) -> None:
    wgaudit("adopt", folder=home)
    rules = f'key_prefix "{PREFIX}" {{ policy = "write" }}\nkey_prefix "{CLAIMS}" {{ policy = "read" }}'
    (home / "token").write_text(guarded.create_token(rules))
    refused = asked(home)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Permission denied; the token may not write what this takes; nothing was written" in one_line(
        refused.stderr
    )


def test_a_token_that_may_not_read_registrations_adopts_nothing(home: Path, guarded: ConsulServer) -> None:
    """Consul would list nothing, and an empty registry would be adopted over one that is full."""
    guarded.put(PREFIX + "a", record("a", "10.16.0.5"))
    (home / "token").write_text(guarded.create_token(f'key_prefix "{CLAIMS}" {{ policy = "write" }}'))
    refused = wgaudit("adopt", folder=home)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "403" in one_line(refused.stderr)


# What docs/prevention.md shows


def shell(home: Path, script: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    program_path("curl")
    path = f"{WGAUDIT.parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", script],
        cwd=home,
        env=clean_environment(home, {**variables, "PATH": path}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(("region", "address"), [("sin", r"10\.16\.0\.\d+/32"), ("ams", None)])
def test_the_documents_shell_script_adds_the_address_or_ends(
    home: Path, region: str, address: str | None
) -> None:
    wgaudit("adopt", folder=home)
    (script,) = blocks("sh", "From a shell script")
    variables = {"NODE": "edge-1", "KEY": KEY, "REGION": region, "ENDPOINT": "198.18.0.7:51820"}
    answer = shell(home, f'ip() {{ echo ip "$@"; }}\n{script}', variables)
    if address is None:
        assert (answer.returncode, answer.stdout) == (2, "")
    else:
        assert answer.returncode == 0, answer.stderr
        assert re.fullmatch(rf"ip addr add {address} dev wg0\n", answer.stdout)


def test_the_documents_python_allocates(home: Path, guarded: ConsulServer) -> None:
    wgaudit("adopt", folder=home)
    (code,) = blocks("python", "From Python")
    code = code.replace("/etc/wgaudit/wgaudit.toml", str(home / "wgaudit.toml"))
    names: dict[str, object] = {"node": "edge-1", "public_key": KEY, "region": "sin"}
    exec(code, names)  # noqa: S102  (our own document)
    assert names["address"] == asked(home).stdout.strip()


def test_the_documents_python_asks_before_it_writes(home: Path, guarded: ConsulServer) -> None:
    guarded.put(PREFIX + "old", record("old", "10.16.0.5"))
    (code,) = blocks("python", "Check before the write")
    code = code.replace("/etc/wgaudit/wgaudit.toml", str(home / "wgaudit.toml"))
    names: dict[str, object] = {"node": "edge-1", "key": KEY, "region": "sin"}
    exec(code, names | {"address": "10.16.0.9"})  # noqa: S102  (our own document)
    with pytest.raises(
        SystemExit, match=r"edge-1  no: address-registered: 10\.16\.0\.5 is registered for old"
    ):
        exec(code, names | {"address": "10.16.0.5"})  # noqa: S102


@pytest.mark.parametrize("address", ["10.16.0.9", "fd00:10::9"])
def test_the_documents_http_gives_what_the_allocator_takes_for_its_own(
    home: Path, guarded: ConsulServer, token: str, address: str
) -> None:
    """Its first run is done, its second is refused, and what is read back is the registration."""
    wgaudit("adopt", folder=home)
    *steps, read_back = blocks("sh", "As HTTP, for other languages")
    script = "set -eu\n" + "".join(steps) + 'echo "$STATUS"\n' + read_back
    variables = {
        "NODE": "edge-1",
        "KEY": KEY,
        "REGION": "sin",
        "ADDRESS": address,
        "NOW": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "CONSUL_HTTP_ADDR": guarded.url,
        "CONSUL_HTTP_TOKEN": token,
    }
    for expected in ("200", "409"):
        answer = shell(home, script, variables)
        assert answer.returncode == 0, answer.stderr
        status, _, body = answer.stdout.partition("\n")
        assert status == expected
        assert json.loads(body)[0]["Key"] == PREFIX + "edge-1"
    again = asked(home)
    assert (again.returncode, again.stdout.strip()) == (0, address)
    assert wgaudit("adopt", "--check", folder=home).returncode == 0


def test_the_documents_http_stops_where_the_registry_was_not_adopted(
    home: Path, guarded: ConsulServer, token: str
) -> None:
    marker, *_ = blocks("sh", "As HTTP, for other languages")
    answer = shell(home, f"set -eu\n{marker}", {"CONSUL_HTTP_ADDR": guarded.url, "CONSUL_HTTP_TOKEN": token})
    assert answer.returncode != 0
