"""The installed version of wgaudit, as its package's metadata says it."""

from __future__ import annotations

from importlib import metadata

VERSION = metadata.version("wgaudit")
