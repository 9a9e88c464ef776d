"""Slack's incoming webhook, as its published rules have it."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.doubles.server import Call, Double, Reply

SECRET_PATH = "/services/T0000TEST/B0000TEST/" + "s" * 24
BLOCKS = 50
MESSAGE = 13_000
_SPECIAL = re.compile(r"<[^>]*>?")


class Refused(Exception):
    """The word that Slack answers with."""


class SlackDouble(Double):
    """Takes what Slack takes. `messages`: those it took, decoded; `pings`: what would notify people or link.

    `seconds_between`: a call that comes sooner after the last one gets a 429 with `Retry-After`.
    """

    def __init__(self, *, seconds_between: float = 0.0, **more: Any) -> None:
        super().__init__(**more)
        self.messages: list[dict[str, Any]] = []
        self.seconds_between = seconds_between

    @property
    def webhook(self) -> str:
        """The URL to give to the notifier."""
        return self.url + SECRET_PATH

    @property
    def pings(self) -> list[str]:
        """Mentions, links and commands that Slack would make out of the messages."""
        return [
            found for message in self.messages for text in texts(message) for found in _SPECIAL.findall(text)
        ]

    def answer(self, call: Call) -> Reply:
        if self.taken and call.at - self.taken[-1].at < self.seconds_between:
            return Reply(429, b"rate_limited", {"Retry-After": "1"})
        if call.path != SECRET_PATH:
            return Reply(404, b"no_service")
        try:
            self.messages.append(checked(call.body))
        except Refused as refused:
            return Reply(400, str(refused).encode())
        return Reply(200, b"ok")


def checked(body: bytes) -> dict[str, Any]:
    """The message, if Slack would take it. Raises `Refused`."""
    try:
        message = json.loads(body)
    except ValueError:
        raise Refused("invalid_payload") from None
    if not isinstance(message, dict) or set(message) - {"text", "blocks"}:
        raise Refused("invalid_payload")
    text = message.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Refused("no_text")
    if len(text) > 40_000:
        raise Refused("msg_too_long")
    blocks = message.get("blocks", [])
    if not isinstance(blocks, list) or len(blocks) > BLOCKS or not all(map(_good_block, blocks)):
        raise Refused("invalid_blocks")
    # Stricter than Slack, which does not say how it counts: all of the blocks, as they were sent.
    if len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))) > MESSAGE:
        raise Refused("msg_blocks_too_long")
    return message


def texts(message: dict[str, Any]) -> list[str]:
    """Every text of the message that Slack reads as its own markup."""
    found = [message["text"]]
    for block in message.get("blocks", []):
        found += [item["text"] for item in _text_objects(block) if item["type"] == "mrkdwn"]
    return found


def _text_objects(block: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        *([block["text"]] if "text" in block else []),
        *block.get("fields", []),
        *block.get("elements", []),
    ]


def _good_block(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    match block.get("type"):
        case "header":
            text: Any = block.get("text")
            return _good_text(text, 150) and bool(text["type"] == "plain_text")
        case "section":
            fields = block.get("fields", [])
            return (
                ("text" in block or bool(fields))
                and ("text" not in block or _good_text(block["text"], 3000))
                and len(fields) <= 10
                and all(_good_text(field, 2000) for field in fields)
            )
        case "context":
            elements = block.get("elements", [])
            return 0 < len(elements) <= 10 and all(_good_text(element, 3000) for element in elements)
        case "divider":
            return True
    return False


def _good_text(text: Any, limit: int) -> bool:
    if not isinstance(text, dict) or text.get("type") not in ("plain_text", "mrkdwn"):
        return False
    if text["type"] == "plain_text" and "verbatim" in text:
        return False
    return isinstance(text.get("text"), str) and 1 <= len(text["text"]) <= limit
