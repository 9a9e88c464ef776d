"""Hashed lines of known_hosts, against what ssh-keygen writes."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path

import pytest

from auditor.nodes.known_hosts import HashedHosts, lines_for, split_hashed
from tests.parts.sshd import keygen, make_key, public


def test_lines_that_ssh_keygen_hashed_are_found_by_name_address_and_port(tmp_path: Path) -> None:
    line = public(make_key(tmp_path / "key"))
    file = tmp_path / "known_hosts"
    file.write_text(
        f"a.example.net {line}\n198.18.0.2 {line}\n[b.example.net]:2222 {line}\n*.plain.net {line}\n"
    )
    keygen("-q", "-H", "-f", str(file))
    plain, hashed = split_hashed(file.read_text())
    assert len(hashed) == 3
    assert plain.strip() == f"*.plain.net {line}"
    assert len(lines_for(hashed, "a.example.net", "198.18.0.1", None)) == 1
    assert len(lines_for(hashed, "c.example.net", "198.18.0.2", None)) == 1
    assert len(lines_for(hashed, "b.example.net", "198.18.0.9", 2222)) == 1
    assert lines_for(hashed, "b.example.net", "198.18.0.9", None) == []
    assert lines_for(hashed, "z.example.net", "198.18.0.9", None) == []


def test_a_host_known_without_a_port_is_known_on_any(tmp_path: Path) -> None:
    """As ssh does it, where no line has the port."""
    file = tmp_path / "known_hosts"
    file.write_text(f"a.example.net {public(make_key(tmp_path / 'key'))}\n")
    keygen("-q", "-H", "-f", str(file))
    assert len(lines_for(split_hashed(file.read_text())[1], "a.example.net", "", 2222)) == 1


def test_markers_of_hashed_lines_are_kept() -> None:
    _, hashed = split_hashed("@revoked |1|AAAA|AAAA ssh-ed25519 AAAA comment\n")
    assert (hashed[0].marker, hashed[0].key) == ("@revoked", "ssh-ed25519 AAAA comment")


@pytest.mark.parametrize(
    "line",
    ["|1|AAAA", "|2|AAAA|AAAA ssh-ed25519 AAAA", "|1|A|A ssh-ed25519 AAAA", "@odd |1|AAAA|AAAA k AAAA"],
)
def test_a_broken_hashed_line_is_an_error_with_its_number(line: str) -> None:
    """Not skipped: it may be the line that revokes a key."""
    with pytest.raises(ValueError, match="line 2"):
        split_hashed(f"# comment\n{line}\n")


def index(folder: Path, text: str) -> HashedHosts:
    file = folder / "known_hosts"
    file.write_text(text)
    keygen("-q", "-H", "-f", str(file))
    return HashedHosts(split_hashed(file.read_text())[1])


def blob(line: str) -> bytes:
    return base64.b64decode(line.split()[1])


def test_a_shown_key_is_looked_for_in_the_lines_that_hold_it_alone(tmp_path: Path) -> None:
    first, second = (public(make_key(tmp_path / name)) for name in ("one", "two"))
    hosts = index(tmp_path, f"a.example.net {first}\nb.example.net {second}\n198.18.0.3 {first}\n")
    assert len(hosts.with_key(blob(first), "a.example.net", "198.18.0.1", None)) == 1
    assert len(hosts.with_key(blob(first), "c.example.net", "198.18.0.3", None)) == 1
    assert hosts.with_key(blob(second), "a.example.net", "198.18.0.1", None) == []
    assert hosts.with_key(blob(first)[:-1], "a.example.net", "198.18.0.1", None) == []


def test_a_line_without_the_port_does_not_settle_a_port_of_its_own(tmp_path: Path) -> None:
    """Another line may hold another key for that port; only a look at all lines can tell."""
    line = public(make_key(tmp_path / "one"))
    hosts = index(tmp_path, f"a.example.net {line}\n[b.example.net]:2222 {line}\n")
    assert hosts.with_key(blob(line), "a.example.net", "", 2222) == []
    assert hosts.with_key(blob(line), "b.example.net", "", None) == []
    assert len(hosts.with_key(blob(line), "b.example.net", "", 2222)) == 1


@pytest.mark.parametrize("marker", ["@revoked", "@cert-authority"])
def test_a_marked_line_never_makes_its_key_a_trusted_one(marker: str) -> None:
    _, hashed = split_hashed(f"{marker} {hashed_name('a.example.net')} ssh-ed25519 AAAA\n")
    hosts = HashedHosts(hashed)
    assert hosts.with_key(base64.b64decode("AAAA"), "a.example.net", "", None) == []
    assert hosts.marked_for(marker, "a.example.net", "", None) == list(hashed)
    assert hosts.marked_for(marker, "b.example.net", "", None) == []


def test_what_is_revoked_without_a_port_is_so_on_any() -> None:
    text = "".join(f"{marker} {hashed_name('a')} k AAAA\n" for marker in ("@revoked", "@cert-authority"))
    hosts = HashedHosts(split_hashed(text)[1])
    assert len(hosts.marked_for("@revoked", "a", "", 2222)) == 1
    assert hosts.marked_for("@cert-authority", "a", "", 2222) == []


def test_the_most_common_kind_of_key_comes_first() -> None:
    keys = ["ssh-rsa AAAA", "ssh-ed25519 AAAB", "ssh-ed25519 AAAC", "ssh-dss !"]
    text = "".join(f"{hashed_name('a')} {key}\n" for key in keys)
    text += f"@revoked {hashed_name('a')} ecdsa-sha2-nistp256 AAAD\n" * 3
    kinds = HashedHosts(split_hashed(text)[1]).kinds()
    assert [line.key.split()[0] for line in kinds] == ["ssh-ed25519", "ssh-rsa"]


def hashed_name(name: str) -> str:
    parts = (bytes(20), hmac.digest(bytes(20), name.encode(), "sha1"))
    return "|1|" + "|".join(base64.b64encode(part).decode() for part in parts)
