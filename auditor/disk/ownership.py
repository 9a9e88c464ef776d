"""Ownership of files: one that others can change is not trusted, nor written over."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

OTHERS = stat.S_IWGRP | stat.S_IWOTH
ANY_OTHER = stat.S_IRWXG | stat.S_IRWXO
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


def not_to_be_used(path: Path) -> str:
    """Say why a file of ours that is kept between runs must not be used; "" where it may, and where it is not there.

    It must be a plain file of ours or root's that others cannot write. No link is followed, and no second name of a
    file taken, in a folder that others can write. To root, a file in a closed folder of the same owner is that
    owner's own: a service's. Raises `OSError`.
    """
    for _ in range(MOST_LINKS):
        folder = path.parent
        try:
            found = path.lstat()
        except FileNotFoundError:
            return ""
        shared = shared_folder(folder) and not _is_home_of(folder, found)
        if not stat.S_ISLNK(found.st_mode):
            return _fault_of(found, folder, shared)
        if shared:
            return f"it is a link, in a folder that others can write ({folder.absolute()})"
        path = folder / path.readlink()
    return "it is a chain of too many links"


def other_readers(path: Path) -> str:
    """Say who beside its owner may read a file of ours, and its mode; "" where nobody may, or it cannot be looked at.

    One that is read by way of its group, because it belongs to somebody else, is as it must be; so is one in a closed
    folder.
    """
    try:
        found = path.stat()
        folders = [folder.stat().st_mode for folder in path.resolve().parents]
    except OSError:
        return ""  # the reader of the file reports why it cannot be read
    mode = stat.S_IMODE(found.st_mode)
    if mode & stat.S_IROTH and all(folder & stat.S_IXOTH for folder in folders):
        return f"everybody here may read it (mode {mode:04o})"
    if (
        mode & stat.S_IRGRP
        and found.st_uid == os.geteuid()
        and all(folder & (stat.S_IXGRP | stat.S_IXOTH) for folder in folders)
    ):
        return f"its group may read it (mode {mode:04o})"
    return ""


def close_to_others(path: Path) -> None:
    """Take from others what a file of ours grants them. Raises `OSError`.

    Nothing is done on a mount that is read-only, where nobody can write it.
    """
    try:
        found = path.stat()
        if found.st_uid == os.geteuid() and stat.S_ISREG(found.st_mode) and found.st_mode & ANY_OTHER:
            path.chmod(0o600)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EROFS:
            raise


def give_like(path: Path, folder: Path) -> None:
    """Give a file that root has just made to the owner of its folder, whose service must open it later."""
    if os.geteuid() == 0 and not path.is_symlink():
        kept = folder.stat()
        if path.stat().st_uid != kept.st_uid and not kept.st_mode & OTHERS:
            os.chown(path, kept.st_uid, kept.st_gid, follow_symlinks=False)


def _fault_of(found: os.stat_result, folder: Path, shared: bool) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "it is no plain file"
    if shared and found.st_nlink > 1:
        return f"the file has a second name, and others can write its folder ({folder.absolute()})"
    if found.st_uid not in _trusted() and not _is_home_of(folder, found):
        return f"it belongs to {owner(found.st_uid)}"
    if found.st_uid != os.geteuid() and found.st_mode & OTHERS:
        return f"it can be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def _is_home_of(folder: Path, found: os.stat_result) -> bool:
    """Tell whether root looks at what one user keeps in a folder that nobody else can write."""
    kept = folder.stat()
    return os.geteuid() == 0 and kept.st_uid == found.st_uid and not kept.st_mode & OTHERS


def shared_folder(folder: Path) -> bool:
    """Tell whether others can put or exchange names in a folder. Raises `OSError`."""
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
