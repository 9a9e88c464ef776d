"""Files written whole: what others put in their place is neither followed nor written to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from auditor.state.files import write_whole


def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "report").symlink_to("precious")
    write_whole(tmp_path / "report", b"new")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "report").is_symlink()


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_pipe_or_device_that_others_may_have_put_there_is_refused(tmp_path: Path, kind: str) -> None:
    """Whoever reads there would read the report."""
    if kind == "pipe":
        os.mkfifo(tmp_path / "report")
    else:
        (tmp_path / "report").symlink_to("/dev/null")
    tmp_path.chmod(0o1777)
    with pytest.raises(PermissionError, match=r"its folder .* can be written by others"):
        write_whole(tmp_path / "report", b"new")


def test_standard_output_is_written_through() -> None:
    write_whole(Path("/dev/null"), b"new")


def test_a_file_for_others_has_its_mode_before_it_has_its_name(tmp_path: Path) -> None:
    """Whatever the umask, and whatever the file before it allowed."""
    path = tmp_path / "metrics.prom"
    path.touch(mode=0o600)
    before = os.umask(0o077)
    try:
        write_whole(path, b"new", 0o644)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["metrics.prom"]
