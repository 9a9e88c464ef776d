"""The signed, versioned message to somebody's own endpoint."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from alerts.models import Status
from alerts.notifiers.webhook import Webhook, schema_text, signature, standard_signature
from auditor.errors import DeliveryError
from tests.alerts.notifiers.sample import SIGNING_SECRET, firing, resolved, trial
from tests.doubles.receiver import Receiver

SCHEMA_FILE = Path(__file__).parents[3] / "docs" / "alert-v1.schema.json"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Somebody's endpoint, which wants signatures."""
    with Receiver(secret=SIGNING_SECRET) as serving:
        yield serving


def webhook(receiver: Receiver, secret: str = SIGNING_SECRET, **more: Any) -> Webhook:
    """Aimed at the double."""
    return Webhook("hook", SecretStr(f"{receiver.url}/in"), secret=SecretStr(secret), **more)


def test_the_published_schema_is_the_one_of_the_code() -> None:
    """To renew it: python -m alerts.notifiers.webhook > docs/alert-v1.schema.json"""
    assert json.loads(SCHEMA_FILE.read_text(encoding="utf-8")) == json.loads(schema_text())


def test_a_signature_is_the_hmac_over_timestamp_and_body() -> None:
    """Computed with `openssl dgst -sha256 -hmac whsec` over `1772333982.{"a":1}`."""
    assert signature(SecretStr("whsec"), "1772333982", b'{"a":1}') == (
        "v1=ea02d923a9fa09556e1d56e2f411e9c493b40945249a179317dba1dc46239c2d"
    )


def test_the_standard_signature_is_that_of_the_published_example() -> None:
    """The one that the libraries of standardwebhooks.com are tested with."""
    secret, body = SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), b'{"test": 2432232314}'
    signed = standard_signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_signed_call_has_both_signatures_over_one_time_and_id(receiver: Receiver) -> None:
    """The older ones stay for those who check them."""
    hook = webhook(receiver)
    await hook.send(hook.payload([firing()]))
    (call,) = receiver.taken
    assert call.headers["webhook-id"] == call.headers["idempotency-key"]
    assert call.headers["webhook-timestamp"] == call.headers["x-wgaudit-timestamp"]
    assert call.headers["webhook-signature"] == standard_signature(
        SecretStr(SIGNING_SECRET), call.headers["webhook-id"], call.headers["webhook-timestamp"], call.body
    )


async def test_a_receiver_that_checks_takes_the_message(receiver: Receiver) -> None:
    """Schema, signature, age: all as documented."""
    hook = webhook(receiver)
    await hook.send(hook.payload([firing(), resolved()]))
    assert [(item["status"], item["reason"]) for item in receiver.notifications] == [
        ("firing", "first-notification"),
        ("resolved", "resolved"),
    ]
    incident = receiver.notifications[0]["incident"]
    assert incident["address"] == "10.0.0.1/32"
    assert incident["since"] == "2026-03-01T02:59:42.000Z"
    assert incident["routing"][0] == {"to": "edge-sin-1", "observers": 6, "regions": {"ams": 1, "sin": 5}}
    assert incident["routing"][1]["regions"] == {"unknown": 2}


async def test_another_secret_is_refused_for_good(receiver: Receiver) -> None:
    """401."""
    hook = webhook(receiver, secret="another")
    with pytest.raises(DeliveryError, match="bad signature") as caught:
        await hook.send(hook.payload([firing()]))
    assert caught.value.permanent


async def test_an_old_message_played_again_is_refused(receiver: Receiver) -> None:
    """The time is under the signature."""
    hook = webhook(receiver, clock=lambda: time.time() - 3600)
    with pytest.raises(DeliveryError, match="too old"):
        await hook.send(hook.payload([firing()]))


async def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    """The header is absent, not empty."""
    receiver.secret = None
    hook = Webhook("hook", SecretStr(receiver.url))
    await hook.send(hook.payload([firing()]))
    assert "x-wgaudit-signature" not in receiver.taken[0].headers
    assert receiver.taken[0].headers["content-type"] == "application/json"


async def test_the_same_message_again_has_the_same_idempotency_key(receiver: Receiver) -> None:
    """An answer may get lost after the message was taken: the receiver can tell."""
    hook = webhook(receiver)
    for _ in range(2):
        await hook.send(hook.payload([firing()]))
    await hook.send(hook.payload([resolved()]))
    assert (receiver.repeated, len(receiver.notifications)) == (1, 2)


@pytest.mark.parametrize("status", Status)
async def test_a_trial_is_marked(receiver: Receiver, status: Status) -> None:
    """For programs and for people."""
    hook = webhook(receiver)
    await hook.send(hook.payload([trial(status)]))
    told = receiver.notifications[0]
    assert told["test"] is True
    assert told["headline"].startswith("TEST - not an incident")
