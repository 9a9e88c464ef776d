"""The embedded fleet with its writable registry, served for a module: what `wgaudit demo --keep` serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from auditor.demo.demo_consul import serve_registry
from auditor.demo.demo_fleet import FEWEST_NODES, DemoFleet, build_fleet
from auditor.demo.folder import registry_items, write_configuration
from auditor.demo.servers import ServedFleet
from tests.serving import served_by_thread

TOKEN = "token-of-the-ways"


class Mesh(NamedTuple):
    """A fleet that answers over SSH."""

    fleet: DemoFleet
    served: ServedFleet


@contextmanager
def served_mesh(folder: Path) -> Iterator[Mesh]:
    """Serve the smallest fleet with the incident in it by a thread of this process; its nodes live in `folder`."""
    fleet = build_fleet(FEWEST_NODES)
    with served_by_thread(fleet, folder, sessions=16) as served:
        yield Mesh(fleet, served)


@contextmanager
def configured(mesh: Mesh, folder: Path, more: str = "") -> Iterator[Path]:
    """Serve the fleet's registry with its indexes, and write `wgaudit.toml` into `folder`; `more` is added to it."""
    with serve_registry(registry_items(mesh.fleet, mesh.served), TOKEN) as url:
        path = write_configuration(mesh.served, folder, url=url, token=TOKEN, concurrency=16)
        path.write_text(f"{path.read_text()}\n{more}")
        yield path
