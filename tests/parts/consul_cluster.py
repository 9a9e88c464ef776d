"""Several Consul servers of one datacenter, one of which leads."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from tests.parts.consul import ConsulServer


class ConsulCluster:
    """A server at each of the addresses, as a context manager; what `ConsulServer` takes holds for all of them."""

    def __init__(
        self,
        folder: Path,
        addresses: Sequence[str],
        *,
        inside: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
        acl: bool = False,
    ) -> None:
        self.servers = [
            ConsulServer(folder / address, address=address, inside=inside, acl=acl) for address in addresses
        ]
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ConsulCluster:
        everyone = [server.lan_address for server in self.servers]
        with contextlib.ExitStack() as stack:
            for server in self.servers:
                server.cluster = tuple(everyone)
                stack.callback(server.stop)
                server.launch()
            for server in self.servers:
                server.token = self.servers[0].token  # the first of them makes it
                server.wait_until_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def leader(self) -> ConsulServer:
        """The one that leads, as the others say; raises `LookupError` where nobody does."""
        for server in self.servers:
            answer = server.request("GET", "/v1/status/leader") if server.pid else None
            if answer is not None and answer.status == 200 and (said := json.loads(answer.body)):
                return next(each for each in self.servers if each.raft_address == said)
        raise LookupError("no Consul server leads")

    def follower(self) -> ConsulServer:
        """One that does not lead."""
        leader = self.leader()
        return next(server for server in self.servers if server is not leader)
