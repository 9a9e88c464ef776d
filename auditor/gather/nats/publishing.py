"""Calls of the NATS library that can be cancelled: it swallows a cancel that comes while it waits for the network."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from nats.aio.client import Client

T = TypeVar("T")


async def publish(client: Client, subject: str, raw: bytes) -> None:
    """Publish a message. A cancel, or a timeout around it, has its effect. Raises what the library does."""
    await heeding_cancel(client.publish(subject, raw))


async def heeding_cancel(call: Coroutine[Any, Any, T]) -> T:
    """Await a call of the library; a cancel meanwhile has its effect, at the call's end at the latest."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        return await call
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
