"""Permission to send, asked for at the last moment: between its decision and its message an auditor may be frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from auditor.errors import NotLeading

_may_send: ContextVar[Callable[[], bool] | None] = ContextVar("may_send", default=None)


@contextmanager
def sending_while(may_send: Callable[[], bool]) -> Iterator[None]:
    """Let messages leave within this block only where `may_send` says so at that moment."""
    before = _may_send.set(may_send)
    try:
        yield
    finally:
        _may_send.reset(before)


def ask_to_send() -> None:
    """Return where a message may leave now. Raises `NotLeading` where another auditor tells by now."""
    may_send = _may_send.get()
    if may_send is not None and not may_send():
        raise NotLeading
