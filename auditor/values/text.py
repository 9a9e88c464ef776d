"""Keeps secrets out of text that a person will read: what a node or a record says may hold a private key."""

from __future__ import annotations

import re

_WHOLE_KEY = re.compile(r"[A-Za-z0-9+/]{43}=")
_CUT_KEY = re.compile(r"[A-Za-z0-9+/]{12,42}$")
_URL = re.compile(r"https?://\S+")


def masked(text: str, *, cut: bool = False) -> str:
    """The text without URLs (a webhook's is a secret) and anything that could be a 32-byte key in base64.

    Public keys go too: nothing tells them apart. `cut`: the text may end in the middle of a key, so a run
    of base64 at its end is taken for one.
    """
    text = _URL.sub("[url]", _WHOLE_KEY.sub("[key]", text))
    return _CUT_KEY.sub("[key]", text) if cut else text
