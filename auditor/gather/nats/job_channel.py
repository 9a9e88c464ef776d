"""Channel of one job on the collector's side: what its auditor says, and what is said to it."""

from __future__ import annotations

import asyncio

from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, Error, OutboundBufferLimitError

from auditor.errors import NatsAway
from auditor.gather.nats.connection import NatsConnection
from auditor.gather.nats.message_parts import room_of
from auditor.gather.nats.messages import SILENT, UNHEARD, job_subject, seen_subject
from auditor.gather.nats.publishing import publish

MOST_WAITING = 10_000
"""Messages of the auditor that may wait to be read; more are lost, and the job with them."""
MOST_WAITING_BYTES = 64 * 1024 * 1024


class JobChannel:
    """Channel of one job. Open it before the job is accepted: its auditor speaks as soon as it is."""

    def __init__(self, connection: NatsConnection, region: str, job: str, stopping: asyncio.Event) -> None:
        """stopping: set when this collector is about to end, and its jobs with it."""
        self.region = region
        self.job = job
        self.stopping = stopping
        self.nodes = 0
        """Nodes that the job is about now, for who asks how busy this collector is."""
        self._connection = connection
        self._seen = seen_subject(region, job)
        self._subscription: Subscription | None = None

    @property
    def most_bytes(self) -> int:
        """Bytes that a message may have."""
        return room_of(self._connection.max_payload)

    async def open(self) -> None:
        """Listen to the auditor; returns once the server knows. Raises `NatsAway`."""
        client = self._connection.client
        try:
            self._subscription = await client.subscribe(
                job_subject(self.region, self.job),
                pending_msgs_limit=MOST_WAITING,
                pending_bytes_limit=MOST_WAITING_BYTES,
            )
            await self._connection.settle()
        except (Error, OSError) as error:
            raise NatsAway(f"NATS: {type(error).__name__}") from None

    async def next(self) -> bytes | None:
        """Wait for the auditor's next message. None: it was silent for too long, or the connection ended.

        Not for several tasks at once.
        """
        if self._subscription is None:
            raise RuntimeError("the channel is not open")
        try:
            return (await self._subscription.next_msg(UNHEARD)).data
        except (Error, TimeoutError):
            return None

    async def publish(self, raw: bytes) -> None:
        """Send a message. Waits while the network takes no more, and for a server that is away, but no longer than the
        auditor does. Raises `NatsAway`."""
        try:
            async with asyncio.timeout(SILENT):
                while True:
                    try:
                        await publish(self._connection.client, self._seen, raw)
                        return
                    except OutboundBufferLimitError:
                        await self._connection.connected.wait()
        except TimeoutError:
            raise NatsAway(f"NATS was away for {SILENT:.0f} s") from None
        except ConnectionClosedError:
            raise NatsAway("the connection to NATS has ended") from None
        except (Error, OSError) as error:
            raise NatsAway(f"NATS: {type(error).__name__}") from None

    async def close(self) -> None:
        """Listen no more."""
        if self._subscription is None:
            return
        try:
            await self._subscription.unsubscribe()
        except Error:
            return  # it ended with its connection
