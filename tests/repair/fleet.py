"""A fleet whose devices are in one file, and its registry in a real Consul: it outlives the process that changes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from auditor.errors import DrainFailed, GapReason, ProbeError
from auditor.nodes.change.changes import (
    AddAddress,
    Change,
    DeviceState,
    DropAddress,
    NodeChanger,
    RewriteFiles,
    SetPeer,
)
from auditor.nodes.table_store import TableStore
from auditor.registry.consul import ConsulRegistry
from auditor.registry.store import ConsulStore
from auditor.repair.apply.answering import MoveAnswers
from auditor.repair.apply.executor import Executor
from auditor.repair.apply.journal import Journal
from auditor.repair.apply.ledger import Ledger
from auditor.repair.apply.steps import ApplyOptions
from auditor.repair.apply.waiting import PeerWait
from auditor.repair.claims.registration import AllocatorPolicy
from auditor.repair.drain.interface import Drainer, DrainTarget
from auditor.repair.moves import Contested, Keeper, Kind, Move, RepairPlan, Rule
from auditor.settings.consul import ConsulSettings
from auditor.values.addresses import Prefix, PublicKey, is_host
from auditor.values.drains import DrainMeans, DrainPolicy
from auditor.values.models import Device, NodeId, Observation, Registration
from auditor.values.route_table import RouteTable
from tests.fleets import key_of
from tests.parts.consul import ConsulServer

NODES, CLAIMS = "wireguard/nodes/", "wireguard/claims/"
OLD, NEW, OTHER_NEW = Prefix("10.0.0.1/32"), Prefix("10.9.0.7/32"), Prefix("10.9.0.8/32")
KEEPER, MOVER, SECOND = NodeId("", "edge-fra-1"), NodeId("", "edge-sin-1"), NodeId("", "edge-nrt-1")
DRAIN = DrainPolicy(DrainMeans.COMMAND, ("drain", "{node}"), ("undrain", "{node}"))
ADDRESSES = {
    KEEPER: OLD,
    MOVER: OLD,
    NodeId("", "db-fra-1"): Prefix("10.0.0.3/32"),
    NodeId("", "db-sin-1"): Prefix("10.0.0.4/32"),
}


def record(node: NodeId, address: Prefix, **more: object) -> bytes:
    """A registration as provisioning writes it."""
    return json.dumps({"public_key": key_of(node.name), "ip": address.removesuffix("/32"), **more}).encode()


class Devices(NodeChanger):
    """All nodes' devices, files and peers, in one file. `agent`: each look takes the peers from the registry first."""

    def __init__(self, file: Path, agent: ConsulStore | None = None) -> None:
        self.file = file
        self.agent = agent
        self.down: set[str] = set()
        self.changes: list[tuple[str, Change]] = []

    @staticmethod
    def make(file: Path, addresses: Mapping[NodeId, Prefix], loses: Mapping[str, str]) -> None:
        """Every node with every other one as its peer; `loses`: by observer, who does not get the old address."""
        nodes = {}
        for node, address in addresses.items():
            peers = {
                key_of(other.name): []
                if theirs == OLD and loses.get(node.name, "") == other.name
                else [theirs]
                for other, theirs in addresses.items()
                if other != node
            }
            nodes[node.name] = {
                "key": key_of(node.name),
                "addresses": [address],
                "files": [address],
                "peers": peers,
            }
        file.write_text(json.dumps(nodes))

    def state(self) -> Any:
        """All of it; addresses and peers' prefixes sorted."""
        nodes = json.loads(self.file.read_text())
        for node in nodes.values():
            node["addresses"].sort()
            node["peers"] = {key: sorted(prefixes) for key, prefixes in sorted(node["peers"].items())}
        return nodes

    def write(self, nodes: Any) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(nodes))
        new.rename(self.file)

    async def look(self, registration: Registration) -> DeviceState:
        return _device(self._node(self.state(), registration))

    async def change(self, registration: Registration, change: Change) -> DeviceState:
        nodes = self.state()
        node = self._node(nodes, registration)
        held = node["addresses"]
        files: tuple[str, ...] = ()
        match change:
            case AddAddress(new, like):
                assert new in held or like in held
                node["addresses"] = [*held, *([] if new in held else [new])]
            case DropAddress(old, keep):
                assert keep in held
                node["addresses"] = [address for address in held if address != old]
            case RewriteFiles(old, new):
                node["files"] = [new if address == old else address for address in node["files"]]
                files = ("/etc/wireguard/wg0.conf",)
            case SetPeer(key, prefixes):
                assert key in node["peers"]
                _give(node["peers"], key, prefixes)
        assert node["addresses"], "a node without an address"
        self.changes.append((registration.node.name, change))
        self.write(nodes)
        state = _device(node)
        return DeviceState(state.public_key, state.addresses, files)

    def expect(self, registrations: Iterable[Registration]) -> None:
        """Nobody here is reached by an address."""

    async def observe(self, registration: Registration, tables: TableStore) -> Observation:
        """The node as the sweep sees it."""
        await asyncio.sleep(0)
        nodes = self.state()
        node = self._node(nodes, registration)
        if self.agent is not None:
            for stored in sorted(self.agent.list(NODES), key=lambda item: item.create_index):
                document = json.loads(stored.value)
                if document["public_key"] in node["peers"]:
                    _give(node["peers"], document["public_key"], [Prefix(f"{document['ip']}/32")])
            self.write(nodes)
        rows = [(node["key"], address) for address in node["addresses"]]
        for key, prefixes in node["peers"].items():
            rows += [(key, prefix) for prefix in prefixes or ["(none)"]]
        text = "".join(sorted(f"{key}\t{prefix}\n" for key, prefix in rows)).encode()
        device = _device(node)
        return Observation(
            registration.node,
            Device("wg0", device.public_key, device.addresses),
            tables.add(RouteTable(text)),
        )

    def _node(self, nodes: Any, registration: Registration) -> Any:
        if registration.node.name in self.down:
            raise ProbeError(GapReason.CONNECT_REFUSED, "planted")
        return nodes[registration.node.name]


def _give(peers: dict[str, list[str]], key: str, prefixes: Iterable[str]) -> None:
    """As the kernel does: whoever takes a prefix last has it."""
    for others in peers.values():
        others[:] = [prefix for prefix in others if prefix not in prefixes]
    peers[key] = list(prefixes)


def _device(node: Any) -> DeviceState:
    return DeviceState(PublicKey(node["key"]), tuple(filter(is_host, map(Prefix, node["addresses"]))))


class Production(Drainer):
    """Which nodes are out of production, in a file. `failing`: the call that is made, and then raises."""

    means = DrainMeans.COMMAND

    def __init__(self, file: Path, devices: Devices) -> None:
        self.file = file
        self.devices = devices
        self.failing = ""
        self.calls: list[str] = []

    @property
    def out(self) -> list[str]:
        """Names of the nodes that are out of production."""
        return [str(name) for name in json.loads(self.file.read_text())]

    def put(self, *names: str) -> None:
        """Sets who is out, and nobody else."""
        self.file.write_text(json.dumps(sorted(names)))

    async def is_drained(self, target: DrainTarget) -> bool:
        return target.node.name in self.out

    async def drain(self, target: DrainTarget, reason: str) -> None:  # noqa: ARG002
        self._take("drain", target)
        self.put(*{*self.out, target.node.name})

    async def undrain(self, target: DrainTarget) -> None:
        self._take("undrain", target)
        self.put(*{*self.out} - {target.node.name})

    def _take(self, what: str, target: DrainTarget) -> None:
        held = self.devices.state()[target.node.name]["addresses"]
        assert target.address in held, "it is asked to drain by an address that the node does not have"
        self.calls.append(f"{what} {target.node.name}")
        if what == self.failing:
            raise DrainFailed("planted")


class Bench:
    """A plan for one mover, with all that carries it out; a new one each time knows what is on disk alone."""

    def __init__(
        self, folder: Path, server: ConsulServer, *, agent: bool = False, timeout: float = 5.0
    ) -> None:
        self.folder = folder
        self.server = server
        self.settings = ConsulSettings.model_validate({"url": server.url, "timeout": 5.0})
        self.store = ConsulStore(self.settings, None)
        self.allocation = AllocatorPolicy(
            NODES, CLAIMS, pools=(Prefix("10.0.0.0/8"), Prefix("fd00::/16")), timeout=timeout
        )
        self.devices = Devices(folder / "devices.json", self.store if agent else None)
        self.production = Production(folder / "out.json", self.devices)
        self.production.put()
        self.answers: MoveAnswers | None = None
        """Who asks at new addresses."""
        self.said: list[str] = []

    def reset(self, addresses: Mapping[NodeId, Prefix] = ADDRESSES) -> None:
        """The mesh as the incident left it: half of the observers take the mover for the owner."""
        self.answers = None
        self.server.delete("wireguard/", recurse=True)
        for node, address in addresses.items():
            self.server.put(NODES + node.name, record(node, address, note="é 1.10"))
        self.production.put()
        Devices.make(
            self.devices.file,
            addresses,
            {"db-fra-1": KEEPER.name, "db-sin-1": MOVER.name, MOVER.name: KEEPER.name},
        )

    def move(self, node: NodeId = MOVER, new: Prefix = NEW, old: Prefix = OLD, **more: Any) -> Move:
        held = self.store.read(NODES + node.name)
        values: dict[str, Any] = {
            "kind": Kind.RENUMBER,
            "node": node,
            "public_key": key_of(node.name),
            "old": old,
            "new": new,
            "region": "",
            "source": Prefix("10.0.0.0/8"),
            "rule": Rule.OLDEST,
            "why": "it came later",
            "where": NODES + node.name,
            "modify_index": held.modify_index if held else None,
            "addresses": (old,),
        }
        return Move(**(values | more))

    def plan(
        self, *moves: Move, keeper: NodeId | None = KEEPER, drain: DrainPolicy | None = None
    ) -> RepairPlan:
        key = key_of(keeper.name) if keeper is not None else None
        claimants = (*((keeper,) if keeper else ()), *(move.node for move in moves))
        contested = Contested(OLD, claimants, Keeper(keeper, key, Rule.OLDEST, "the oldest"), moves)
        return RepairPlan(
            datetime(2026, 1, 1, tzinfo=UTC),
            "findings",
            "wg0",
            (contested,),
            claims_prefix=CLAIMS,
            drain=drain,
        )

    def ledger(self, plan: RepairPlan) -> Ledger:
        return Ledger({"": self.store}, self.allocation, plan.ident)

    async def executor(
        self,
        plan: RepairPlan,
        journal: Journal,
        waiting: Callable[[PeerWait], None] | None = None,
        **options: Any,
    ) -> Executor:
        reading = await ConsulRegistry(self.settings, None).read()
        assert not reading.gaps
        return Executor(
            plan,
            journal,
            self.ledger(plan),
            self.devices,
            self.devices,
            {item.node: item for item in reading.registrations},
            ApplyOptions(**({"wait": 5.0, "poll": 0.02} | options)),
            self.said.append,
            waiting,
            self.production,
            self.answers,
        )

    @property
    def journal(self) -> Path:
        return self.folder / "plan.json.journal"

    async def forward(self, plan: RepairPlan, **options: Any) -> None:
        """Every move of the plan, as a process that knows nothing but the disk."""
        with Journal(self.journal, plan.ident) as journal:
            executor = await self.executor(plan, journal, **options)
            for move in plan.moves:
                await executor.forward(move)

    async def back(self, plan: RepairPlan, **options: Any) -> None:
        """The way back, the last move first."""
        with Journal(self.journal, plan.ident) as journal:
            executor = await self.executor(plan, journal, **options)
            for move in reversed(plan.moves):
                if executor.progress(move).begun:
                    await executor.back(move)

    def registry(self) -> dict[str, Any]:
        """All keys; of claims what does not depend on the time and the plan."""
        found: dict[str, Any] = {}
        for stored in self.store.list("wireguard/"):
            value = stored.value.decode()
            if stored.key.startswith(CLAIMS):
                claim = json.loads(value)
                found[stored.key] = (claim["state"], claim["node"])
            else:
                found[stored.key] = value
        return found
