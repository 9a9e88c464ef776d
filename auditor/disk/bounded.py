"""Reading files of others within bounds: plain files alone, and no more of them than is asked for."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_bounded(path: Path, most: int) -> bytes:
    """Read at most `most` bytes and one more, which says that there are more. Never waits for a pipe or a device.

    Raises `OSError`, also for what is no plain file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a plain file")
        return stream.read(most + 1)
