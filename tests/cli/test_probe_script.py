"""`wgaudit probe-script`: the file to install, and the key's line where witnesses need more of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cli.command import wgaudit

LINE = (
    'in authorized_keys, before the key: command="/usr/local/libexec/wgaudit-probe",restrict,port-forwarding,'
    'permitopen="*:4222"'
)


def printed(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "wgaudit.toml").write_text(text)
    return wgaudit("probe-script", "--config", folder / "wgaudit.toml", folder=folder)


def test_where_witnesses_are_configured_the_keys_line_is_printed_too(tmp_path: Path) -> None:
    """On stderr, and in a comment of the script, which is the same otherwise and one that sh reads."""
    plain = printed(tmp_path, "")
    done = printed(tmp_path, '[[witnesses]]\ntype = "nats"\n')
    assert done.stderr == f"wgaudit: {LINE}\n"
    shebang, comment, *rest = done.stdout.splitlines()
    assert comment == f"# {LINE[0].upper()}{LINE[1:]}"
    assert [shebang, *rest] == plain.stdout.splitlines()
    assert plain.stderr == ""
    subprocess.run(["sh", "-n"], input=done.stdout, text=True, check=True)
