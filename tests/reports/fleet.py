"""A small fleet as a snapshot: ten nodes in three regions, one contested address, one node not seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from auditor.errors import GapReason
from auditor.values.addresses import Prefix
from auditor.values.models import (
    AuditPolicy,
    Device,
    Gap,
    InvalidRegistration,
    NodeId,
    Observation,
    Registration,
    Snapshot,
)
from auditor.values.route_table import RouteTable
from tests.reports.sample import key

STARTED = datetime(2026, 3, 1, 2, 59, 30, tzinfo=UTC)
CONTESTED = Prefix("10.0.0.1/32")
NAMES = (
    "edge-sin-1",
    "edge-fra-1",
    *(f"worker-{region}-{number}" for region in ("sin", "fra", "nrt") for number in (1, 2)),
)
UNSEEN = "worker-nrt-3"
GHOST = key("ghost")


def address(name: str) -> Prefix:
    """The address that the node is registered with."""
    return CONTESTED if name.startswith("edge-") else Prefix(f"10.0.1.{(*NAMES, UNSEEN).index(name)}/32")


def table(loser: str, names: Sequence[str] = NAMES, *, ghost: bool = False) -> RouteTable:
    """A route table in which the contested address is not on `loser`'s peer."""
    lines = {f"{key(name)}\t{'(none)' if name == loser else address(name)}" for name in names}
    if ghost:
        lines.add(f"{GHOST}\t10.0.9.9/32")
    return RouteTable("".join(f"{line}\n" for line in sorted(lines)).encode())


def snapshot(*, unseen: bool = True) -> Snapshot:
    """`edge-sin-1` and `edge-fra-1` hold 10.0.0.1; fra routes it to fra, the others to sin.

    `worker-nrt-3` refuses SSH (unless `unseen` is False, when it is not registered either), and one
    registration cannot be read.
    """
    names = [*NAMES, UNSEEN] if unseen else list(NAMES)
    tables = {
        made.digest: made for made in (table("edge-sin-1", names), table("edge-fra-1", names, ghost=True))
    }
    by_fra, by_sin = tables
    return Snapshot(
        started_at=STARTED,
        finished_at=STARTED + timedelta(seconds=3),
        policy=AuditPolicy(name_pattern=r"^[a-z]+-(?P<region>[a-z]{3})-"),
        registrations=tuple(registration(name, 4711 + index) for index, name in enumerate(names)),
        invalid=(
            InvalidRegistration(
                NodeId("dc1", "db-sin-1"), "wireguard/nodes/db-sin-1", "not valid JSON", '{"public_key": '
            ),
        ),
        observations=tuple(
            Observation(
                NodeId("dc1", name),
                Device("wg0", key(name), (address(name),)),
                by_fra if "-fra-" in name else by_sin,
                host_key=f"SHA256:{name}",
            )
            for name in NAMES
        ),
        tables=tables,
        gaps=(Gap("ssh", GapReason.CONNECT_REFUSED, "198.18.0.40 port 22: refused", UNSEEN, "dc1"),)
        if unseen
        else (),
    )


def registration(name: str, index: int) -> Registration:
    """What Consul says of the node."""
    return Registration(
        node=NodeId("dc1", name),
        public_key=key(name),
        addresses=(address(name),),
        region=name.split("-")[1],
        endpoint="198.18.0.12:51820",
        ssh_host="198.18.0.12",
        where=f"wireguard/nodes/{name}",
        create_index=index,
        modify_index=index + 2,
    )
