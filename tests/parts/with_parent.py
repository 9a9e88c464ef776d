"""Starts real parts so that they end with the process that started them, by whatever signal that ends."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence

_SETPRIV = shutil.which("setpriv")


def with_parent(words: Sequence[str], by: str = "TERM") -> list[str]:
    """Give the words that start the same part, ended by that signal when this process ends.

    `setpriv` becomes the part, which keeps the process id. The kernel watches the thread that starts it, so in any
    thread but the main one the words stay as they are: the part would end with the thread.
    """
    if _SETPRIV is None or threading.current_thread() is not threading.main_thread():
        return list(words)
    return [_SETPRIV, "--pdeathsig", by, "--", *words]
