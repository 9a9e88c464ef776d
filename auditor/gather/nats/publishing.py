"""Calls of the NATS library that can be cancelled: it swallows a cancel that comes while it waits for the network."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg

T = TypeVar("T")


async def publish(client: Client, subject: str, raw: bytes, reply: str = "") -> None:
    """Publish a message. A cancel, or a timeout around it, has its effect. Raises what the library does.

    reply: a subject that this client listens to; there the server says so where the message reached nobody.
    """
    await heeding_cancel(client.publish(subject, raw, reply=reply))


def reached_nobody(message: Msg) -> bool:
    """Tell whether a message is the server's word that another one reached nobody."""
    return not message.data and (message.headers or {}).get("Status") == "503"


async def heeding_cancel(call: Coroutine[Any, Any, T]) -> T:
    """Await a call of the library; a cancel meanwhile has its effect, at the call's end at the latest."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        return await call
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
