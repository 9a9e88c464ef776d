"""Lines of known_hosts, read as OpenSSH reads them; `ssh-keygen -F` is asked beside it."""

from __future__ import annotations

import base64
import hmac
import subprocess
from pathlib import Path

import pytest

from auditor.errors import RevocationError
from auditor.nodes.known_hosts import KnownLines, TrustedKeys, lookup_names
from tests.cases import CASES
from tests.parts.sshd import keygen, make_key, public

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHASO6lkVIFjPpizRbl7bo6ftFT+oOQ9/ODwL2XPEYgg"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICu9TPNHExKgNvw0TRlox+xEizwkTT9QqttC0k/P/+XA"
RSA = "ssh-rsa " + base64.b64encode(b"\0\0\0\x07ssh-rsa\0\0\0\x01\x03").decode()


def read(text: str | bytes) -> KnownLines:
    return KnownLines([("file", text.encode() if isinstance(text, str) else text)])


def keys(found: TrustedKeys) -> list[str]:
    return [f"{key.kind} {base64.b64encode(key.blob).decode()}" for key in found.keys]


def known(text: str | bytes, host: str, port: int = 22) -> list[str]:
    return keys(read(text).all(lookup_names(host, port)))


def hashed_name(name: str) -> str:
    parts = (bytes(20), hmac.digest(bytes(20), name.encode(), "sha1"))
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in parts)


def keygen_finds(file: Path, name: str) -> bool:
    command = ["ssh-keygen", "-F", name, "-f", str(file)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    return any(line and not line.startswith("#") for line in done.stdout.splitlines())


def test_a_banner_kept_in_a_comment_makes_no_key_trusted() -> None:
    content = (CASES / "hostile/known_hosts.banner").read_bytes()
    assert b"* ssh-ed25519" in content
    assert known(content, "10.9.9.9") == [KEY]
    assert known(content, "10.9.9.8") == []


@pytest.mark.parametrize(
    "case", sorted((CASES / "nodes/05-known_hosts-one-line").iterdir()), ids=lambda path: path.name
)
def test_a_line_that_cannot_be_read_costs_no_other_line(case: Path) -> None:
    assert known(case.read_bytes() + b"\nnode " + KEY.encode() + b"\n", "node") == [KEY]


@pytest.mark.parametrize("end", ["\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\0"])
@pytest.mark.parametrize("comment", ["# {}", f"a {KEY} {{}}"])
def test_a_line_ends_at_a_newline_alone(end: str, comment: str) -> None:
    for text in (comment.format(f"{end}* {OTHER}\n"), comment.format(f"{end}b {OTHER}\n")):
        for encoding in ("utf-8", "latin-1") if ord(end) < 256 else ("utf-8",):
            assert known(text.encode(encoding), "b") == []


@pytest.mark.parametrize(
    "line",
    [
        f"node {KEY}",
        f"NODE {KEY}",
        f"other,node {KEY}",
        f"\t node\t {KEY} comment of several words",
        f"node {KEY}\r",
        f"n?de,other {KEY}",
        f"*,!other {KEY}",
        f"no* {KEY}",
        f"{hashed_name('node')} {KEY}",
        f"# node {KEY}",
        f"*,!node {KEY}",
        f"!node,* {KEY}",
        f"!node {KEY}",
        f"node, other {KEY}",
        f"nod {KEY}",
        f"nodes {KEY}",
        f"n?e {KEY}",
        f"{hashed_name('Node')} {KEY}",
        f"{hashed_name('node')},node {KEY}",
        f"|1|abc {KEY}",
        f"[node]:22 {KEY}",
        f"\vnode {KEY}",
    ],
)
def test_a_host_has_the_keys_that_ssh_keygen_finds_for_it(tmp_path: Path, line: str) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"{line}\n")
    assert bool(known(file.read_bytes(), "node")) is keygen_finds(file, "node")


@pytest.mark.parametrize(
    "line",
    [
        f"node {KEY}=",
        f"node {KEY[:-5]}",
        f"node 256 {KEY}",
        f"node ssh-rsa {KEY.split()[1]}",
        f"node#{KEY}",
        "node",
        "node ssh-ed25519",
        "=",
        "@",
        f"@mystery node {KEY}",
    ],
)
def test_a_line_without_a_host_and_a_whole_key_trusts_nobody(line: str) -> None:
    lines = read(f"{line}\n")
    assert keys(lines.all(["node"])) == []
    assert lines.unreadable == [("file", 1)]


def test_a_line_that_cannot_be_read_is_skipped_and_counted() -> None:
    for case in sorted((CASES / "nodes/05-known_hosts-one-line").iterdir()):
        lines = read(case.read_bytes() + f"\nnode {KEY}\n".encode())
        assert lines.unreadable == [("file", 1)], case.name
        assert keys(lines.all(["node"])) == [KEY]


@pytest.mark.parametrize(
    "line",
    [
        "@revoked",
        "@revoked *",
        "@revoked * ssh-ed25519 AAAA",
        "@revoked * ssh-ed25519",
        f"@revoked |1|abc {KEY}",
        f" @Revoked * {KEY}",
        f"@revoke * {KEY}",
        f"@revoked @revoked * {KEY}",
        "@revoked * ssh-ed25519 \xff",
    ],
)
def test_a_line_that_revokes_and_cannot_be_read_is_an_error_with_its_number(line: str) -> None:
    with pytest.raises(RevocationError, match="file: line 2: "):
        read(f"# comment\n{line}\n")


def test_a_name_with_a_port_is_looked_up_with_it_first() -> None:
    text = f"node {KEY}\n[node]:2222 {OTHER}\n"
    assert known(text, "node", 2222) == [OTHER]
    assert known(text, "node", 2223) == [KEY]
    assert known(text, "node") == [KEY]


def test_a_key_of_another_kind_with_the_port_outweighs_the_line_without_it() -> None:
    """As ssh has it: the host at that port is known, and not by this key."""
    assert known(f"node {KEY}\n[node]:2222 {RSA}\n", "node", 2222) == [RSA]


def test_an_authority_counts_with_the_port_and_without() -> None:
    found = read(f"@cert-authority node {KEY}\n[node]:2222 {OTHER}\n").all(lookup_names("node", 2222))
    assert [key.blob for key in found.authorities] == [base64.b64decode(KEY.split()[1])]


def test_a_marked_line_never_makes_its_key_a_trusted_one() -> None:
    for marker in ("@revoked", "@cert-authority"):
        for host in ("node", hashed_name("node"), "n*"):
            lines = read(f"{marker} {host} {KEY}\n")
            found = lines.all(["node"])
            assert found.keys == []
            assert len(found.revoked if marker == "@revoked" else found.authorities) == 1
            assert not lines.hashed.holds(base64.b64decode(KEY.split()[1]), "node")


def test_lines_of_several_files_count_together() -> None:
    lines = KnownLines([("one", f"node {KEY}\n".encode()), ("two", f"@revoked * {KEY}\n".encode())])
    found = lines.all(["node"])
    assert keys(found) == [KEY]
    assert len(found.revoked) == 1


def test_lines_that_ssh_keygen_hashed_are_found_by_name_and_port(tmp_path: Path) -> None:
    line = public(make_key(tmp_path / "key"))
    file = tmp_path / "known_hosts"
    file.write_text(f"a.example.net {line}\n[b.example.net]:2222 {line}\n*.plain.net {line}\n")
    keygen("-q", "-H", "-f", str(file))
    content = file.read_bytes()
    assert known(content, "A.example.net") == [line]
    assert known(content, "a.example.net", 2222) == [line]
    assert known(content, "b.example.net", 2222) == [line]
    assert known(content, "b.example.net") == []
    assert known(content, "c.plain.net") == [line]


def test_a_shown_key_is_looked_for_under_its_very_name_alone() -> None:
    lines = read(f"{hashed_name('[node]:2222')} {KEY}\n{hashed_name('node')} {OTHER}\n")
    blob, other = (base64.b64decode(key.split()[1]) for key in (KEY, OTHER))
    assert lines.hashed.holds(blob, "[node]:2222")
    assert not lines.hashed.holds(other, "[node]:2222")
    assert not lines.hashed.holds(blob, "node")


def test_the_most_common_kind_of_key_comes_first() -> None:
    lines = read("".join(f"{hashed_name('a')} {key}\n" for key in (RSA, KEY, OTHER)))
    assert [key.kind for key in lines.hashed.kinds()] == ["ssh-ed25519", "ssh-rsa"]
