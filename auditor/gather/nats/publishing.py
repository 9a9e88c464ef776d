"""Publishing that can be cancelled: the library swallows a cancel that comes while it waits for the network."""

from __future__ import annotations

import asyncio

from nats.aio.client import Client


async def publish(client: Client, subject: str, raw: bytes) -> None:
    """Publish a message. A cancel, or a timeout around it, has its effect. Raises what the library does."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    await client.publish(subject, raw)
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
