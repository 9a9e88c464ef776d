"""What a 2xx answer means: a yes, unless it is a known no, or a page of somebody in between."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from pydantic import SecretStr

from alerts.notifiers.acceptance import Meaning, meaning
from alerts.notifiers.http import CallOptions
from alerts.notifiers.slack import Slack
from auditor.errors import DeliveryError
from tests.alerts.notifiers.sample import KINDS, Kind, firing
from tests.doubles.server import Double, Reply, Trouble

CASES = Path(__file__).parents[2] / "cases" / "registry" / "09-slack-compatible-answers.tsv"
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def answers() -> list[tuple[str, Reply]]:
    """Each service of the case file, and its yes."""
    with CASES.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert {row["delivered"] for row in rows} == {"yes"}
    return [(row["who"], Reply(int(row["status"]), (row["body"] or "").encode())) for row in rows]


@pytest.mark.parametrize(("who", "reply"), answers(), ids=[who for who, _ in answers()])
@every_kind
async def test_the_yes_of_a_compatible_service_is_a_yes(
    kind: Kind, who: str, reply: Reply, double: Double
) -> None:
    double.fault = reply
    notifier = kind.make(double.url)
    assert (await notifier.send(notifier.payload([firing()]))).startswith(str(reply.status))


@pytest.mark.parametrize(
    "body",
    [
        "invalid_payload", '"no_service"', "channel_is_archived\n", '{"ok":false,"error":"channel_not_found"}',
        '{"ok":false}', '{"success":false}', '{"success":"false"}', '{"Status":"Error","message":"no"}',
        '{"status":"failed"}', '{"error":"no space"}', '{"errors":["text is missing"]}',
    ],
)  # fmt: skip
def test_a_known_no_is_a_no(body: str) -> None:
    assert meaning(body) is Meaning.REFUSED


@pytest.mark.parametrize("body", ["rollup_error", '{"ok":false,"error":"ratelimited"}'])
def test_a_no_that_passes_is_tried_again(body: str) -> None:
    assert meaning(body) is Meaning.NOT_NOW


@pytest.mark.parametrize(
    "body",
    ["<!DOCTYPE html><p>log in", "\n<HTML>", "<!-- x --><html lang=en>", '{"ok":tr', '{"a":' * 100_000],
)
def test_a_page_and_half_an_object_are_no_answer_of_a_service(body: str) -> None:
    assert meaning(body) is Meaning.UNCLEAR


@pytest.mark.parametrize(
    ("after", "means"), [("<html>", Meaning.UNCLEAR), ("ok", Meaning.TAKEN), ("<!-- -- -", Meaning.TAKEN)]
)
def test_an_answer_of_many_comments_is_read_in_time(after: str, means: Meaning) -> None:
    """Once it took twice as long for each further one."""
    assert meaning("<!-- -x- --> <!---->" * 5000 + after) is means


@pytest.mark.parametrize(
    "body", ["", "ok", "no problem", "1", "[]", '{"error":null,"errors":[]}', '{"status":"ok"}', "<ok/>"]
)
def test_everything_else_is_a_yes(body: str) -> None:
    assert meaning(body) is Meaning.TAKEN


@pytest.mark.parametrize("trouble", [Trouble.RESET, Trouble.SILENCE, Trouble.DRIP], ids=lambda it: it.name)
@every_kind
async def test_what_was_sent_and_got_no_whole_answer_is_unclear(
    kind: Kind, trouble: Trouble, double: Double
) -> None:
    """It may have been taken."""
    double.fault = trouble
    notifier = kind.make(double.url)
    object.__setattr__(notifier, "timeout", 0.3)
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(notifier.payload([firing()]))
    assert caught.value.unclear
    assert not caught.value.permanent


@every_kind
async def test_what_was_never_sent_is_not_unclear(kind: Kind) -> None:
    with Double() as gone:
        base = gone.url
    notifier = kind.make(base)
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(notifier.payload([firing()]))
    assert not caught.value.unclear


@pytest.mark.parametrize(
    ("accept", "reply"),
    [
        ((302,), Reply(302, b"", {"Location": "http://127.0.0.1:1/"})),
        (("queued",), Reply(200, b"<html>Message queued</html>")),
        (("no_text",), Reply(200, b"no_text")),
    ],
)
async def test_what_the_settings_accept_is_a_yes(
    accept: tuple[str | int, ...], reply: Reply, double: Double
) -> None:
    """For gateways that say yes in their own way."""
    double.fault = reply
    slack = Slack("team", SecretStr(double.url), options=CallOptions(accept=accept))
    assert (await slack.send(slack.payload([firing()]))).startswith(str(reply.status))


async def test_accepted_words_do_not_make_a_yes_of_a_refusing_status(double: Double) -> None:
    double.fault = Reply(400, b"not queued")
    slack = Slack("team", SecretStr(double.url), options=CallOptions(accept=("queued",)))
    with pytest.raises(DeliveryError):
        await slack.send(slack.payload([firing()]))
