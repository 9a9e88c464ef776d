"""Somebody's own endpoint for `wgaudit.alert/1`: checks schema, signature and age, and counts each message once."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from tests.doubles.server import Call, Double, Reply

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "alert-v1.schema.json"
OLDEST = 300.0  # seconds


class Receiver(Double):
    """Takes signed messages. `notifications`: all that came, in order, those of a repeated message once."""

    def __init__(self, *, secret: str | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.secret = secret
        self.notifications: list[dict[str, Any]] = []
        self.repeated = 0
        self._seen: set[str] = set()

    def answer(self, call: Call) -> Reply:
        refused = self._refusal(call)
        if refused:
            return refused
        key = call.headers["idempotency-key"]
        if key in self._seen:
            self.repeated += 1
        else:
            self._seen.add(key)
            self.notifications += json.loads(call.body)["notifications"]
        return Reply(200, b"thanks")

    def _refusal(self, call: Call) -> Reply | None:
        if not call.headers.get("idempotency-key"):
            return Reply(400, b"no Idempotency-Key")
        if self.secret is not None:
            stamp = call.headers.get("x-wgaudit-timestamp", "")
            wanted = hmac.new(
                self.secret.encode(), stamp.encode() + b"." + call.body, hashlib.sha256
            ).hexdigest()
            given = call.headers.get("x-wgaudit-signature", "")
            if not hmac.compare_digest(f"v1={wanted}", given):
                return Reply(401, b"bad signature")
            if abs(time.time() - int(stamp)) > OLDEST:
                return Reply(401, b"too old")
        try:
            validator().validate(json.loads(call.body))
        except (ValueError, ValidationError) as error:
            return Reply(400, f"not wgaudit.alert/1: {str(error)[:100]}".encode())
        return None


@cache
def validator() -> Draft202012Validator:
    """Holds messages against the published schema."""
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())
