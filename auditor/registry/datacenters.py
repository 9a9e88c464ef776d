"""PURE: which datacenters are read, by the settings and by Consul's list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.errors import GapReason, RegistryError
from auditor.registry.answers import rows
from auditor.registry.spellings import MAX_TEXT
from auditor.values.models import Gap
from auditor.values.text import for_detail, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditor.settings.consul import ConsulSettings


def datacenter_names(answer: object, asked: str) -> tuple[str, ...]:
    """Read Consul's list of datacenters. Raises `RegistryError` where it is none."""
    names = rows(answer, str, asked)
    if not names or not all(0 < len(name) <= MAX_TEXT and name.isprintable() for name in names):
        detail = f"{asked}: no datacenter, or one whose name is none"
        raise RegistryError(GapReason.CONSUL_UNREADABLE, detail)
    return tuple(dict.fromkeys(names))


def wanted_datacenters(settings: ConsulSettings, known: Sequence[str]) -> tuple[str, ...]:
    """List the datacenters to read where every one is wanted. Raises `RegistryError` where none is left."""
    # One that is named is asked for although Consul does not list it: its absence must not go unseen.
    names = tuple(dict.fromkeys((*known, *settings.named_datacenters)))
    if not (wanted := tuple(name for name in names if name not in settings.left_out)):
        detail = f"Consul knows {listed(names)}, and consul.datacenters leaves all of them out"
        raise RegistryError(GapReason.REGISTRY_EMPTY, detail)
    return wanted


def datacenter_gone(name: str) -> Gap:
    """Make the gap of a datacenter that was read before, and that Consul lists no more."""
    return Gap(
        "consul",
        GapReason.DATACENTER_GONE,
        f"{for_detail(name)} was read by an earlier sweep, and Consul lists it no more; if it was taken down "
        f'for good, add "!{for_detail(name)}" to consul.datacenters',
        datacenter=name,
    )
