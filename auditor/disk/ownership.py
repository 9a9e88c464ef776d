"""Who else can write a file: what others can change is not believed unasked, nor written over."""

from __future__ import annotations

import os
import stat
from pathlib import Path

OTHERS = stat.S_IWGRP | stat.S_IWOTH
MOST_LINKS = 40
"""Links followed from one name; Linux follows as many."""


def others_hand(path: Path) -> str:
    """Say why others can decide what an existing file holds; "" where only root and we can.

    File and folder must belong to root or to us, and their modes let nobody else write. Of a link, that holds for
    the folder that it stands in and for what it leads to. Raises `OSError`.
    """
    for _ in range(MOST_LINKS):
        folder = path.parent
        if reason := _others_can_write(folder):
            return f"its folder {folder.absolute()} {reason}"
        if not path.is_symlink():
            reason = _others_can_write(path)
            return f"it {reason}" if reason else ""
        if path.lstat().st_uid not in _trusted():
            return f"the link {path} belongs to {owner(path.lstat().st_uid)}"
        path = folder / path.readlink()
    return "it is a chain of too many links"


def shared_folder(folder: Path) -> bool:
    """Whether others can put or exchange names in a folder. Raises `OSError`."""
    return bool(_others_can_write(folder))


def owner(user: int) -> str:
    """Name a user by number, and by name where there is one."""
    import pwd  # not on every start

    try:
        return f"{pwd.getpwuid(user).pw_name} (uid {user})"
    except KeyError:
        return f"uid {user}"


def _trusted() -> frozenset[int]:
    return frozenset({0, os.geteuid()})


def _others_can_write(path: Path) -> str:
    found = path.stat()
    if found.st_uid not in _trusted():
        return f"belongs to {owner(found.st_uid)}"
    if found.st_mode & OTHERS:
        return f"can be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""
