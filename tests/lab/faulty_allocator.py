"""The provisioning tool with the two bugs of the incident, so that tests can make the incident as it was made.

It takes a lock, lists, chooses the lowest free address, **releases the lock, and writes then**. And whatever
goes wrong while it lists, it carries on **with the pool's first address**. Nothing but tests may use it.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

from tests.parts.request import Answer, Request, ask

PREFIX = "wireguard/nodes/"
LOCK = "provisioning/lock"

Bug = Literal["allocator-fallback", "parallel-writers"]


@dataclass(frozen=True)
class Provisioned:
    """One run of the tool, as it went."""

    node: str
    address: str
    fell_back: bool
    """It could not list, and took the first address."""


class FaultyAllocator:
    """One tool behind one URL.

    work: seconds at most that it takes from the lock's release to the write, or what it does then. hosts: the outer
    address of each node that has a server.
    """

    def __init__(
        self,
        url: str,
        pool: str = "10.0.0.0/8",
        *,
        work: float | Callable[[], object] = 0.05,
        hosts: Mapping[str, str] | None = None,
        seed: int = 1,
    ) -> None:
        self._url = url
        self._hosts = hosts or {}
        self._pool = IPv4Network(pool)
        self._work = work
        self._random = random.Random(seed)  # noqa: S311
        self._patience = 2.0

    def provision(self, node: str, public_key: str, region: str) -> Provisioned:
        """Registers a node with the address that the tool believes to be free."""
        session = self._lock(node)
        taken = self._list()
        self._unlock(session)  # the first bug: nothing is written yet
        # The second: an error reads like "nothing is taken".
        address = self._lowest_free(taken) if taken is not None else str(self._pool[1])
        if callable(self._work):
            self._work()
        else:
            time.sleep(self._random.uniform(0, self._work))  # it makes keys, files and the like
        document = {
            "public_key": public_key,
            "ip": address,
            "region": region,
            "endpoint": f"{self._hosts.get(node, '198.18.0.1')}:51820",
            "ssh_host": self._hosts.get(node, f"{node}.example"),
        }
        self._until_done("PUT", f"/v1/kv/{PREFIX}{node}", json.dumps(document).encode())
        return Provisioned(node, address, taken is None)

    def _lock(self, node: str) -> str:
        body = json.dumps({"Name": node, "LockDelay": "0s", "TTL": "60s"}).encode()
        session = json.loads(self._until_done("PUT", "/v1/session/create", body).body)["ID"]
        while True:
            answer = self._ask("PUT", f"/v1/kv/{LOCK}?acquire={session}", node.encode())
            if answer.status == 200 and json.loads(answer.body):
                return str(session)
            while self._held(session):
                time.sleep(self._random.uniform(0.05, 0.25))

    def _held(self, session: str) -> bool:
        """Whether another one has the lock, as far as Consul says."""
        answer = self._ask("GET", f"/v1/kv/{LOCK}")
        try:
            return bool(json.loads(answer.body)[0].get("Session", session) != session)
        except ValueError:
            return False

    def _unlock(self, session: str) -> None:
        self._until_done("PUT", f"/v1/kv/{LOCK}?release={session}")
        self._until_done("PUT", f"/v1/session/destroy/{session}")

    def _list(self) -> set[str] | None:
        answer = self._ask("GET", f"/v1/kv/{PREFIX}?recurse")
        try:
            items = json.loads(answer.body)
            return {json.loads(base64.b64decode(item["Value"]))["ip"] for item in items}
        except (ValueError, TypeError, KeyError):
            return None

    def _lowest_free(self, taken: set[str]) -> str:
        return next(str(address) for address in self._pool.hosts() if str(address) not in taken)

    def _until_done(self, method: str, path: str, body: bytes = b"") -> Answer:
        while True:
            answer = self._ask(method, path, body)
            if answer.status == 200:
                return answer
            time.sleep(0.02)

    def _ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        return ask(Request(self._url + path, method, body, timeout=self._patience))


@dataclass(frozen=True)
class Contested:
    """One address that more than one node is registered with, and the bug that brought it about."""

    address: str
    nodes: tuple[str, ...]
    bug: Bug


def provision_many(
    allocator: FaultyAllocator, nodes: Mapping[str, tuple[str, str]], at_once: int
) -> tuple[Provisioned, ...]:
    """Runs of the tool for all these nodes (name: key, region), so many at once."""
    gate = threading.Barrier(at_once)

    def run(share: Sequence[str]) -> list[Provisioned]:
        gate.wait(30)
        return [allocator.provision(name, *nodes[name]) for name in share]

    names = list(nodes)
    with ThreadPoolExecutor(at_once) as pool:
        done = pool.map(run, [names[start::at_once] for start in range(at_once)])
        return tuple(one for share in done for one in share)


def truth(raw: Sequence[Mapping[str, Any]], runs: Sequence[Provisioned]) -> tuple[Contested, ...]:
    """What is contested by Consul's own records (`GET /v1/kv/<prefix>?recurse`), and by which bug.

    An address that one run took without having listed is contested by the fallback, whoever else has it;
    every other one by runs that listed before one of them had written.
    """
    holders: dict[str, list[str]] = defaultdict(list)
    for item in raw:
        name = str(item["Key"]).removeprefix(PREFIX)
        holders[json.loads(base64.b64decode(item["Value"]))["ip"]].append(name)
    fallen = {run.address for run in runs if run.fell_back}
    return tuple(
        Contested(
            address, tuple(sorted(names)), "allocator-fallback" if address in fallen else "parallel-writers"
        )
        for address, names in sorted(holders.items(), key=lambda pair: IPv4Address(pair[0]))
        if len(names) > 1
    )
