"""Whose hand a file is in: ours, root's, or somebody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from auditor.disk.ownership import others_hand

NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of ours with one file in it, which nobody else can write."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0o644)
    tmp_path.chmod(0o755)
    return tmp_path


def test_a_file_and_folder_of_ours_that_nobody_else_can_write_are_ours(folder: Path) -> None:
    """Read by others is no harm."""
    assert others_hand(folder / "file") == ""


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_folder_that_others_can_write_is_in_their_hand(folder: Path, mode: int) -> None:
    """The sticky bit lets them put a file there first."""
    folder.chmod(mode)
    assert f"its folder {folder} can be written by others" in others_hand(folder / "file")


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_can_write_is_in_their_hand(folder: Path, mode: int) -> None:
    """By its group, too."""
    (folder / "file").chmod(mode)
    assert "can be written by others" in others_hand(folder / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("given", ["", "file"])
def test_what_belongs_to_somebody_else_is_in_their_hand(folder: Path, given: str) -> None:
    """File or folder."""
    os.chown(folder / given, NOBODY, NOBODY)
    assert "belongs to nobody (uid 65534)" in others_hand(folder / "file")


def test_a_link_is_judged_by_its_folder_and_by_what_it_leads_to(folder: Path) -> None:
    """Each of its links."""
    open_folder = folder / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    (open_folder / "file").write_text("x")
    (folder / "good").symlink_to("file")
    (folder / "bad").symlink_to("open/file")
    (folder / "round").symlink_to("round")
    (open_folder / "link").symlink_to(folder / "file")
    assert others_hand(folder / "good") == ""
    for name in ("bad", "open/link"):
        assert f"its folder {open_folder} can be written by others" in others_hand(folder / name)
    assert "too many links" in others_hand(folder / "round")
