"""A collector of a test's own, written on the bare client: it does as it should, but for what its script says."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from auditor.gather.nats.publishing import publish
from auditor.values.models import NodeId, Observation
from tests.fleets import Mesh

Script = Callable[["Talk"], Awaitable[None]]


class Talk:
    """One job: what the auditor asked for, and the row of messages that answers it."""

    def __init__(self, collector: ScriptedCollector, job: str) -> None:
        self.collector = collector
        self.job = job
        self.nodes: list[dict[str, Any]] = []
        self.addresses: list[str] = []
        self.number = 0
        self.before = hashlib.sha256()
        self.wanted: asyncio.Queue[str] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.taken = 0
        self.beaten = asyncio.Condition()

    async def taken_up_to(self, number: int) -> None:
        """Waits until the auditor says that it has taken so many messages."""
        async with self.beaten:
            await self.beaten.wait_for(lambda: self.taken >= number)

    def message(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next message of the row, not sent yet."""
        head = {"schema": "wgaudit.collect/1", "kind": kind, "job": self.job}
        return {**head, "number": self.number, "before": self.before.hexdigest(), **fields}

    async def send(self, kind: str, **fields: Any) -> bytes:
        """Sends the next message of the row."""
        return await self.send_as(json.dumps(self.message(kind, **fields)).encode())

    async def send_as(self, raw: bytes) -> bytes:
        """Sends these bytes as the next message of the row."""
        self.number += 1
        self.before.update(hashlib.sha256(raw).digest())
        await self.publish(raw)
        return raw

    async def publish(self, raw: bytes) -> None:
        """Sends bytes to the auditor, whatever they are."""
        subject = f"wgaudit.seen.{self.collector.region}.{self.job}"
        await publish(self.collector.client, subject, raw)

    def result(self, name: str, **changed: Any) -> dict[str, Any]:
        """A batch with the result of one node, for `send("seen", …)`."""
        mesh = self.collector.mesh
        node = mesh.find(name)
        if (reason := mesh.unseen.get(node)) is not None:
            gap = {
                "name": node.name,
                "datacenter": node.datacenter,
                "reason": reason.value,
                "detail": "planted",
            }
            return {"gaps": [{**gap, **changed}]}
        return {"observations": [{**observed(mesh.observe(node)), **changed}]}

    async def answer_wants(self) -> None:
        """Sends each text that is wanted, until the job ends."""
        while True:
            await self.send_text(await self.wanted.get())

    async def send_text(self, digest: str) -> None:
        """Sends a text in parts of 100 characters."""
        text = self.collector.texts[digest].decode()
        pieces = [text[at : at + 100] for at in range(0, len(text), 100)] or [""]
        for number, piece in enumerate(pieces):
            await self.send("text", digest=digest, part=number, parts=len(pieces), text=piece)

    async def last(self, **changed: Any) -> None:
        """Says that this was all."""
        said = {"count": self.number, "sha256": self.before.hexdigest()}
        await self.send("last", **{**said, **changed})


async def as_it_should(talk: Talk) -> None:
    """Sends a message for each node, and then that this was all."""
    for form in talk.nodes:
        await talk.send("seen", **talk.result(form["name"]))
    await talk.last()


class ScriptedCollector:
    """A collector of a region, as an async context manager: it knows what a mesh shows.

    script: what it does with each job. answer: changes to its answer to a request; None: it does not answer.
    answers_wants: whether texts are sent beside the script.
    """

    def __init__(
        self,
        client: Client,
        region: str,
        mesh: Mesh,
        script: Script = as_it_should,
        *,
        answer: Mapping[str, Any] | None = {},
        answers_wants: bool = True,
    ) -> None:
        self.client = client
        self.region = region
        self.mesh = mesh
        self.texts = {digest: table.text for digest, table in mesh.tables().items()}
        self.script = script
        self.opened: list[dict[str, Any]] = []
        self.talks: list[Talk] = []
        self.wants: Counter[str] = Counter()
        self.answers_wants = answers_wants
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: list[Subscription] = []

    async def __aenter__(self) -> ScriptedCollector:
        subject = f"wgaudit.collect.{self.region}"
        self._subscriptions.append(await self.client.subscribe(subject, "q", cb=self._asked))
        # The client writes the ping of `flush` past what waits to be sent: the first one lets that be sent.
        await self.client.flush()
        await self.client.flush()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for subscription in self._subscriptions:
            with suppress(Exception):
                await subscription.unsubscribe()

    async def _asked(self, message: Msg) -> None:
        opened = json.loads(message.data)
        self.opened.append(opened)
        if self._answer is None:
            return
        talk = Talk(self, opened["job"])
        self.talks.append(talk)
        subject = f"wgaudit.job.{self.region}.{talk.job}"
        subscription = await self.client.subscribe(subject)
        self._subscriptions.append(subscription)
        accepted = {"schema": "wgaudit.collect/1", "job": talk.job, "accepted": True, "collector": "host 1"}
        await message.respond(json.dumps({**accepted, **self._answer}).encode())
        task = asyncio.create_task(self._work(talk, subscription))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, talk: Talk, subscription: Subscription) -> None:
        assigned = asyncio.Event()

        async def listen() -> None:
            async for message in subscription.messages:
                said = json.loads(message.data)
                match said["kind"]:
                    case "assign":
                        talk.nodes += said.get("nodes", [])
                        talk.addresses += said.get("addresses", [])
                        if said.get("whole"):
                            assert len(talk.nodes) == said["count"]
                            assigned.set()
                    case "want":
                        for digest in said["digests"]:
                            self.wants[digest] += 1
                            talk.wanted.put_nowait(digest)
                    case "beat":
                        async with talk.beaten:
                            talk.taken = said.get("taken", 0)
                            talk.beaten.notify_all()
                    case "end":
                        talk.ended.set()

        async with asyncio.TaskGroup() as group:
            group.create_task(listen())
            await assigned.wait()
            if self.answers_wants:
                group.create_task(talk.answer_wants())
            await self.script(talk)


def observed(seen: Observation) -> dict[str, Any]:
    """An observation as it travels."""
    return {
        "name": seen.node.name,
        "datacenter": seen.node.datacenter,
        "device": seen.device.name,
        "public_key": seen.device.public_key,
        "addresses": list(seen.device.addresses),
        "link_up": seen.device.link_up,
        "table": seen.table,
        "region": seen.region,
        "host_key": seen.host_key,
    }


def named(nodes: Sequence[NodeId]) -> list[str]:
    """Names of nodes, sorted."""
    return sorted(node.name for node in nodes)
