"""ssh's own configuration, resolved as `ssh -G` resolves it."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from auditor.errors import UnfollowableLine
from auditor.nodes.ssh_config import LocalFacts, SshConfig, canonical_host
from tests.cases import CASES
from tests.parts.sshd import require_sshd

LOCAL = LocalFacts(
    user="somebody",
    home="/home/somebody",
    host="here.example.net",
    uid=1000,
    addresses=lambda: ["192.168.3.4", "::1"],
)


def resolved(text: str | bytes, host: str = "n1", local: LocalFacts = LOCAL) -> dict[str, object]:
    content = text.encode() if isinstance(text, str) else text
    found = SshConfig("config", content, lambda _: ()).resolve(host, local)
    values: dict[str, object] = {
        name: words for name, (words, _) in found.values.items() if name != "hostname"
    }
    return values | {"host": found.host, "port": found.port or 22, "user": found.user or local.user}


def ssh_says(file: Path, host: str) -> dict[str, list[str]] | None:
    """What `ssh -G` prints, by keyword. None: it does not take the file."""
    command = ["ssh", "-F", str(file), "-G", host]
    done = subprocess.run(command, capture_output=True, check=False, text=True, errors="surrogateescape")
    if done.returncode:
        return None
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


def as_ssh(file: Path, host: str) -> None:
    """Hold what is read of a file beside what ssh reads."""
    import getpass

    said = ssh_says(file, host)
    local = LocalFacts(
        getpass.getuser(), str(Path.home()), "here", 0, run=lambda command: command.startswith("true")
    )

    def include(word: str) -> list[tuple[str, bytes]]:
        return [(word, Path(word).read_bytes())] if Path(word).exists() else []

    config = SshConfig(str(file), file.read_bytes(), include)
    try:
        found = config.resolve(host, local)
    except UnfollowableLine:
        assert said is None, f"{file.read_text()}\n{host}"
        return
    if said is None:
        # ssh ends at any fault in the file; here it concerns the hosts that it stands for.
        return
    ours = {
        "hostname": [found.host],
        "port": [str(found.port or 22)],
        "user": [found.user or local.user],
        "hostkeyalias": [found.text("hostkeyalias").lower()] if found.text("hostkeyalias") else [],
        "proxycommand": [found.text("proxycommand")] if found.text("proxycommand") else [],
        "proxyjump": [found.text("proxyjump")] if found.text("proxyjump") else [],
    }
    text = f"{file.read_text()}\n{host}"
    for keyword, value in ours.items():
        expected = [] if said.get(keyword) == ["none"] else said.get(keyword, [])
        assert value == expected, f"{keyword}\n{text}"
    if found.texts("identityfile"):
        home = str(Path.home())
        assert [file.replace("~/", f"{home}/") for file in said["identityfile"]] == list(
            found.texts("identityfile")
        )


LINES = (
    "Port 2222",
    "Port=2223",
    'Port = "2224" # why',
    "HostName 192.0.2.7",
    "HostName %h.Example.NET",
    "User alice",
    "User 'bob'   # the builder",
    "HostKeyAlias Alias",
    "ProxyJump b1",
    "ProxyJump none",
    "ProxyJump carol@b2:2022,b3",
    "ProxyCommand none",
    "ProxyCommand nc  -x '#a' b4 22",
    "IdentityFile ~/.ssh/a",
    'IdentityFile "/keys/b c"',
    "ServerAliveInterval 30s",
    "ConnectTimeout 10   # seconds",
    "ForwardAgent no",
    "SendEnv LANG LC_*",
    "# a comment",
    "",
    "\tCompression\tyes ",
    "LogLevel QUIET",
)
HEADS = (
    "Host *",
    "Host n1",
    "Host n? other",
    "Host !n2 n*",
    "Host N1",
    'Host "n1" # first',
    "Match all",
    "Match host n1,b*",
    "Match host *.example.net",
    "Match originalhost n1",
    "Match !originalhost n1",
    "Match user alice",
    "Match user root,bob host n*",
    'Match exec "true %h"',
    "Match originalhost n2 exec false",
    "Match final",
    "Match final host *.net",
    "Match canonical",
    "Match localuser root",
)


@pytest.mark.parametrize("seed", range(60))
def test_a_host_is_resolved_as_by_ssh(tmp_path: Path, seed: int) -> None:
    require_sshd()
    chosen = random.Random(seed)  # noqa: S311
    lines = chosen.choices(LINES, k=chosen.randrange(3))
    for _ in range(chosen.randrange(1, 7)):
        lines += [
            chosen.choice(HEADS),
            *(f"  {line}" for line in chosen.choices(LINES, k=chosen.randrange(1, 5))),
        ]
    if chosen.random() < 0.3:
        other = tmp_path / "other"
        inside = [chosen.choice(HEADS), *chosen.choices(LINES, k=3)]
        other.write_text("\n".join(chosen.sample(LINES, k=2) + inside) + "\n")
        lines.insert(chosen.randrange(len(lines) + 1), f"Include {other} /nowhere/*")
    file = tmp_path / "config"
    file.write_bytes((chosen.choice(("\n", "\r\n"))).join((*lines, "")).encode())
    for host in ("n1", "N1", "192.0.2.9"):
        as_ssh(file, host)


@pytest.mark.parametrize(
    "text",
    [
        "Port",
        "Port 22x",
        "Port 0",
        "Port 1 2",
        "HostName a b",
        'User ""',
        'User "a',
        "AddressFamily inet7",
        "IdentityFile a b",
        "IdentitiesOnly perhaps",
        "HostName %q",
        "UserKnownHostsFile a none",
        "Host\n Port 5",
        "Match\n Port 5",
        "Match host\n Port 5",
        "Match nonsense x\n Port 5",
    ],
)
def test_a_line_that_ssh_does_not_take_either_fails_with_its_place(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(f"{text}\n")
    assert ssh_says(file, "n1") is None
    with pytest.raises(UnfollowableLine, match="config line 1: "):
        resolved(text)


def test_a_fault_that_changes_nothing_for_a_host_does_not_concern_it() -> None:
    assert resolved("Host n2\n Port many\nHost *\n Port 5\n")["port"] == 5
    assert resolved("Port 5\nHost\n Port 6\nMatch nonsense x\n Port 7\n")["port"] == 5
    assert resolved("Match nonsense x\n ForwardAgent no\n")["port"] == 22


@pytest.mark.parametrize("case", sorted(path.name for path in (CASES / "nodes/06-ssh_config").iterdir()))
def test_each_case_is_read(case: str) -> None:
    content = (CASES / "nodes/06-ssh_config" / case).read_bytes().replace(b"PORT", b"2222")
    values = resolved(content)
    if case == "proxyjump-nested":
        assert values["proxyjump"] == ("b2",)
    if case == "proxycommand-tilde":
        assert values["proxycommand"] == ("~/bin/proxy 127.0.0.1 2222",)


@pytest.mark.parametrize(
    "line",
    ["Nonsense yes", "ServerAliveInterval soon", 'SendEnv "LANG', "ForwardAgent perhaps", "\xe4\xf6", "="],
)
def test_a_line_about_something_else_is_skipped(line: str) -> None:
    assert resolved(f"{line}\nPort 5\n".encode("latin-1"))["port"] == 5


def test_networks_of_this_machine_are_matched() -> None:
    assert resolved("Match localnetwork 10.0.0.0/8,192.168.0.0/16\n Port 5\n")["port"] == 5
    assert resolved("Match localnetwork !192.168.3.0/24,192.168.0.0/16\n Port 5\n")["port"] == 22
    assert resolved("Match !localnetwork 192.168.0.0/16\n Port 5\n")["port"] == 22
    with pytest.raises(UnfollowableLine, match="line 1"):
        resolved("Match localnetwork 192.168.0.0/99\n Port 5\n")


def test_a_name_that_a_shell_would_read_reaches_no_command() -> None:
    with pytest.raises(UnfollowableLine, match="a shell would read"):
        resolved("ProxyCommand nc %h 22\n", "$(reboot)")
    with pytest.raises(UnfollowableLine, match="a shell would read"):
        resolved("User -oProxyCommand\nProxyCommand ssh %r@b\n")


def test_a_command_of_a_condition_is_run_only_where_all_before_it_holds() -> None:
    ran: list[str] = []

    def run(command: str) -> bool:
        ran.append(command)
        return True

    local = LocalFacts("u", "/h", "l", 0, run=run)
    assert resolved('Match host n1 exec "test %h = n1"\n Port 5\n', "n2", local)["port"] == 22
    assert ran == []
    assert resolved('Match host n1 exec "test %h = n1"\n Port 5\n', "n1", local)["port"] == 5
    assert ran == ["test n1 = n1"]


def test_files_that_include_each_other_end() -> None:
    config = SshConfig("a", b"Include a\nPort 5\n", lambda _: [("a", b"Include a\n")])
    with pytest.raises(UnfollowableLine, match="include each other"):
        config.resolve("n1", LOCAL)


def test_a_short_name_that_ssh_would_complete_is_refused_by_name() -> None:
    text = "CanonicalizeHostname yes\nCanonicalDomains example.net\nCanonicalizeMaxDots 0\n"
    with pytest.raises(UnfollowableLine, match="CanonicalizeHostname is not followed"):
        resolved(text)
    assert resolved(text, "n1.example.net")["host"] == "n1.example.net"


def test_addresses_are_spelled_as_the_c_library_does() -> None:
    assert canonical_host("2001:DB8:0:0::1") == "2001:db8::1"
    assert canonical_host("::ffff:192.0.2.1") == "::ffff:192.0.2.1"
    assert canonical_host("Node") == "node"


@pytest.mark.parametrize(
    ("content", "host"),
    [(b"HostName a:\x8c\n", "a:\udc8c"), (b"HostName fe80::A\n", "fe80::a")],
)
def test_a_host_that_is_no_text_is_spelled_as_it_stands(content: bytes, host: str) -> None:
    assert resolved(content)["host"] == host


def test_a_network_that_is_none_is_quoted_short() -> None:
    with pytest.raises(UnfollowableLine, match="Match localnetwork") as caught:
        resolved(b"Match localnetwork " + b"9" * 5000 + b"\nPort 5\n")
    assert len(str(caught.value)) < 400
