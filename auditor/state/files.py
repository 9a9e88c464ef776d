"""Writer of a file, whole or not at all, readable by its owner only unless it is meant for others."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

from auditor.disk.ownership import others_hand, shared_folder


def write_whole(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write `data` to `path` with this mode, by a rename. Raises `OSError`.

    A path that is no plain file (a pipe, /dev/stdout) cannot be replaced, so it is written straight through; it is
    refused where others may have put it there.
    """
    try:
        plain = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        plain = True
    if not plain:
        if shared_folder(path.parent) and (reason := others_hand(path)):
            raise PermissionError(errno.EPERM, f"it is no plain file, and {reason}")
        path.write_bytes(data)
        return
    # mkstemp makes it 0600 whatever the umask; a report names servers and addresses.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            if mode != 0o600:
                os.fchmod(stream.fileno(), mode)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the write's own error is the one to tell
            Path(temporary).unlink()
        raise
