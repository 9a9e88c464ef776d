"""PURE: patterns of names that several rooms check."""

from __future__ import annotations

DEVICE_NAME = r"[A-Za-z0-9_=+.\-]{1,15}"
"""Name of a WireGuard device, as wg-quick takes it."""
VALUE_NAME = r"[A-Za-z_][A-Za-z0-9_\-]{0,63}"
"""Name of a value in a registration."""
MESH_NAME = r"^([A-Za-z0-9][A-Za-z0-9_.\-]{0,62})?$"
"""Name of a mesh, or nothing."""
