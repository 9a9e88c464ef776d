"""Discord, Teams, Telegram and ntfy, as their published rules have it: what they would not take is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

from tests.doubles.server import Call, Double, Reply

TELEGRAM_TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
CHAT = "-1001234567890"
TOPIC = "mesh-4f1d9c7a55"

Check = Callable[[dict[str, Any]], None]


class NotTaken(Exception):
    """What is wrong with the message."""


class ChatDouble(Double):
    """Takes what one of the four takes. `messages`: those it took, decoded."""

    def __init__(self, kind: str, **more: Any) -> None:
        super().__init__(**more)
        self.kind = kind
        self.messages: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        """The URL to give to the notifier."""
        return self.url + PATHS[self.kind]

    def answer(self, call: Call) -> Reply:
        if call.path != PATHS[self.kind]:
            return Reply(404, b'{"ok":false,"error_code":404,"description":"Not Found"}')
        try:
            self.messages.append(checked(self.kind, call.body))
        except NotTaken as refused:
            return Reply(400, json.dumps({"ok": False, "description": str(refused)}).encode())
        return ANSWERS[self.kind]


PATHS = {
    "discord": "/api/webhooks/1/hook-4f1d9c7a55",
    "teams": "/workflows/hook-4f1d9c7a55?sig=hook-4f1d9c7a55",
    "telegram": f"/bot{TELEGRAM_TOKEN}/sendMessage",
    "ntfy": "/",
}
ANSWERS = {
    "discord": Reply(204),
    "teams": Reply(202),
    "telegram": Reply(200, b'{"ok":true,"result":{"message_id":7}}'),
    "ntfy": Reply(200, b'{"id":"x","event":"message"}'),
}


def checked(kind: str, body: bytes) -> dict[str, Any]:
    """The message, if the service would take it. Raises `NotTaken`."""
    try:
        message = json.loads(body)
    except ValueError:
        raise NotTaken("not JSON") from None
    _must(isinstance(message, dict), "not an object")
    {"discord": _discord, "teams": _teams, "telegram": _telegram, "ntfy": _ntfy}[kind](message)
    return dict(message)


def _discord(message: dict[str, Any]) -> None:
    _must(set(message) <= {"content", "embeds", "allowed_mentions"}, "unknown fields")
    _text(message["content"], 2000)
    _must(message["allowed_mentions"] == {"parse": []}, "somebody could be mentioned")
    embeds = message["embeds"]
    _must(1 <= len(embeds) <= 10, "not 1 to 10 embeds")
    total = 0
    for embed in embeds:
        _must(set(embed) <= {"title", "description", "color"}, "an embed has unknown fields")
        total += _text(embed["title"], 256) + _text(embed["description"], 4096)
        _must(isinstance(embed["color"], int) and 0 <= embed["color"] <= 0xFFFFFF, "no colour")
    _must(total <= 6000, "the embeds have more than 6,000 characters")
    for text in (message["content"], *(embed["description"] for embed in embeds)):
        _must(not re.search(r"(?<!\\)(\]\(|://|<[@#!])", text), "something that could be a link or mention")


def _teams(message: dict[str, Any]) -> None:
    _must(len(json.dumps(message, ensure_ascii=False).encode()) <= 28 * 1024, "larger than 28 KB")
    _must(set(message) == {"type", "attachments"} and message["type"] == "message", "no message")
    (attachment,) = message["attachments"]
    _must(attachment["contentType"] == "application/vnd.microsoft.card.adaptive", "no adaptive card")
    card = attachment["content"]
    _must(card["type"] == "AdaptiveCard" and card["version"] == "1.4" and len(card["body"]) > 0, "no card")
    for block in card["body"]:
        _must(block["type"] == "RichTextBlock", "a block that reads Markdown")
        for run in block["inlines"]:
            _must(run["type"] == "TextRun" and isinstance(run["text"], str), "no text run")
            colour = run.get("color", "default")
            _must(
                colour in ("default", "dark", "light", "accent", "good", "warning", "attention"), "no colour"
            )


def _telegram(message: dict[str, Any]) -> None:
    known = {"chat_id", "text", "parse_mode", "link_preview_options"}
    _must(set(message) <= known, "unknown fields")
    _must(message["chat_id"] == CHAT, "Bad Request: chat not found")
    _must(message["parse_mode"] == "HTML", "parse_mode")
    page = _TelegramPage()
    page.feed(message["text"])
    page.close()
    _must(not page.open, "can't parse entities: a tag is not closed")
    _text(page.text, 4096, least=1)


class _TelegramPage(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        _must(tag in ("b", "i", "u", "s", "code", "pre") and not attrs, f"unsupported start tag {tag}")
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        _must(bool(self.open) and self.open.pop() == tag, f"unmatched end tag {tag}")

    def handle_data(self, data: str) -> None:
        self.text += data


def _ntfy(message: dict[str, Any]) -> None:
    _must(set(message) <= {"topic", "title", "message", "priority", "tags"}, "unknown fields")
    _must(re.fullmatch(r"[-_A-Za-z0-9]{1,64}", message["topic"]) is not None, "invalid topic")
    _must(0 < len(message["message"].encode()) <= 4096, "message too large")
    _must(message["title"] != "" and message["priority"] in (1, 2, 3, 4, 5), "invalid priority or title")
    _must(all(isinstance(tag, str) for tag in message["tags"]), "invalid tags")


def _text(value: Any, most: int, least: int = 0) -> int:
    """Its length as JavaScript counts."""
    _must(isinstance(value, str), "no text")
    size = len(value.encode("utf-16-le", "surrogatepass")) // 2
    _must(least <= size <= most, f"Must be {least} to {most} in length, is {size}")
    return size


def _must(good: bool, why: str) -> None:
    if not good:
        raise NotTaken(why)
