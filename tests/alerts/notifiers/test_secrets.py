"""One test for all notifiers: what is secret appears nowhere, whatever goes wrong and whoever listens."""

from __future__ import annotations

import json
import logging

import pytest
from pydantic import SecretStr

from alerts.notifiers.alertmanager import Alertmanager
from alerts.notifiers.heartbeat import HeartbeatKind, beat
from alerts.notifiers.http import CallOptions
from alerts.notifiers.message_templates import BodyTemplate, shipped_text
from alerts.notifiers.slack import Slack
from alerts.notifiers.webhook import Webhook
from auditor.errors import DeliveryError
from tests.alerts.notifiers.sample import KINDS, URL_SECRET, Kind, firing
from tests.doubles.chats import CHAT, TELEGRAM_TOKEN
from tests.doubles.server import Double, Reply, Trouble

OUTCOMES = (
    "yes", "echo", "refusal that echoes", "try again that echoes", "redirect", "reset", "refused", "bad url",
    "bad port",
)  # fmt: skip


def with_headers(base: str) -> Alertmanager:
    """Everything secret that a call can carry beside its URL and body."""
    headers = (("X-Token", SecretStr(HEADER_SECRET)), ("Authorization", SecretStr(f"Basic {BASIC_SECRET}")))
    return Alertmanager("sink", SecretStr(base), timeout=5.0, options=CallOptions(headers=headers))


def telegram(base: str) -> Webhook:
    """A chat whose URL holds the bot's token, and whose body holds the chat's number."""
    template = BodyTemplate(shipped_text("telegram"), {"chat_id": SecretStr(CHAT)})
    url = f"{base}/bot{TELEGRAM_TOKEN}/sendMessage"
    return Webhook("sink", SecretStr(url), timeout=5.0, template=template)


HEADER_SECRET, BASIC_SECRET = "header-77aa11bb", "dXNlcjpwYXNzd29yZA"
SECRETIVE = (
    *KINDS,
    Kind("headers", with_headers, Reply(200), (HEADER_SECRET, BASIC_SECRET)),
    Kind("telegram", telegram, Reply(200, b'{"ok":true}'), (TELEGRAM_TOKEN, CHAT)),
)


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("kind", SECRETIVE, ids=lambda kind: kind.name)
async def test_no_notifiers_secret_appears_anywhere(
    kind: Kind,
    outcome: str,
    double: Double,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not in its repr, its payload, a receipt, an error, a log line of any library, or on the terminal."""
    caplog.set_level(logging.DEBUG)
    base = {"refused": "http://127.0.0.1:9", "bad url": "http://[::1", "bad port": "http://x:999999"}
    notifier = kind.make(base.get(outcome, double.url))
    echo = " ".join((*kind.secrets, *(secret.upper() for secret in kind.secrets))).encode()
    faults: dict[str, Reply | Trouble] = {
        "yes": kind.yes,
        "echo": Reply(200, b"not ok: " + echo),
        "refusal that echoes": Reply(400, echo),
        "try again that echoes": Reply(503, b"x" * 150 + echo),
        "redirect": Reply(302, echo, {"Location": "http://127.0.0.1:9/" + kind.secrets[-1]}),
        "reset": Trouble.RESET,
    }
    double.fault = faults.get(outcome)
    payload = notifier.payload([firing()])
    try:
        said = await notifier.send(payload)
    except DeliveryError as error:
        said = f"{error} {error!r} {error.args}"
    captured = capfd.readouterr()
    everything = "\n".join(
        (str(notifier), repr(notifier), payload.decode(), said, caplog.text, captured.out, captured.err)
    ).lower()
    for secret in kind.secrets:
        assert secret.lower() not in everything


async def test_a_slack_refusal_that_is_cut_short_holds_no_half_secret(double: Double) -> None:
    """Masked first, cut afterwards."""
    kind = KINDS[0]
    secret = kind.secrets[-1]
    for lead in range(150, 200, 7):
        double.fault = Reply(400, b"x" * lead + secret.encode())
        with pytest.raises(DeliveryError) as caught:
            await kind.make(double.url).send(b"{}")
        assert "sss" not in str(caught.value)


@pytest.mark.parametrize(
    "password", ["hunt/er2", "hunt?er2", "hunt#er2", "hunt@er2", "12/hunter2", "hunt%2Fer2"]
)
async def test_no_piece_of_a_urls_password_is_shown(password: str, caplog: pytest.LogCaptureFixture) -> None:
    """Also where a sign in it, not written as it must be, makes a part of it look like host or port."""
    caplog.set_level(logging.DEBUG)
    url = SecretStr(f"http://audit:{password}@127.0.0.1:9/x")
    said = [caplog.text, await beat(url, HeartbeatKind.START)]
    for notifier in (Slack("sink", url), Alertmanager("sink", url), Webhook("sink", url)):
        with pytest.raises(DeliveryError) as caught:
            await notifier.send(b"{}")
        said.append(f"{caught.value!r} {notifier!r}")
    for piece in ("hunt", "er2", "audit", ":12"):
        assert piece not in "\n".join(map(str, said))


async def test_the_heartbeats_url_appears_nowhere(double: Double, caplog: pytest.LogCaptureFixture) -> None:
    """It is a secret too: whoever has it can keep a dead audit looking alive."""
    caplog.set_level(logging.DEBUG)
    double.fault = Reply(404, f"no such check: {URL_SECRET}".encode())
    said = await beat(SecretStr(f"{double.url}/ping/{URL_SECRET}"), HeartbeatKind.START)
    assert said is not None
    assert URL_SECRET not in said + caplog.text


async def test_only_pagerdutys_sending_knows_the_routing_key(double: Double) -> None:
    """It must travel in the body; a preview of the payload must not show it."""
    kind = KINDS[1]
    double.fault = kind.yes
    notifier = kind.make(double.url)
    payload = notifier.payload([firing()])
    await notifier.send(payload)
    assert json.loads(double.calls[0].body) == {"routing_key": kind.secrets[0], **json.loads(payload)}
