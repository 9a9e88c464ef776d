"""Hashed lines of known_hosts, against what ssh-keygen writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.nodes.known_hosts import lines_for, split_hashed
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
