"""What people read in Slack."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from alerts.models import Notification, NotifyReason, Status
from alerts.notifiers.slack import Slack
from alerts.sender import Sender
from auditor.errors import DeliveryError
from auditor.values.findings import Severity
from auditor.values.guide import Guide
from tests.alerts.notifiers.sample import HOSTILE_NAMES, PAIR, SENDER, SINCE, firing, resolved, trial
from tests.doubles.server import Reply
from tests.doubles.slack import SlackDouble, texts


@pytest.fixture
def workspace() -> Iterator[SlackDouble]:
    """Slack."""
    with SlackDouble() as serving:
        yield serving


async def told(workspace: SlackDouble, *notifications: Notification, in_full: int = 40) -> dict[str, Any]:
    """The message as Slack took it."""
    slack = Slack("team", SecretStr(workspace.webhook), max_per_message=in_full)
    assert await slack.send(slack.payload(notifications)) == "200 OK: ok"
    return workspace.messages[-1]


def section(message: dict[str, Any], number: int = 1) -> str:
    """Text of one of the message's blocks; 0 is the header."""
    return str(message["blocks"][number]["text"]["text"])


async def test_the_header_names_the_worst_and_counts_the_rest(workspace: SlackDouble) -> None:
    """The verdict, at a glance."""
    other = replace(PAIR, subject="10.0.0.2", fingerprint="f2")
    message = await told(workspace, firing(), firing(other), resolved(replace(PAIR, fingerprint="f3")))
    assert (
        section(message, 0) == "wgaudit: critical: duplicate-address 10.0.0.1 and 1 more firing, 1 resolved"
    )
    assert len(message["blocks"]) == 4


async def test_a_section_tells_the_whole_incident(workspace: SlackDouble) -> None:
    """Who, where, since when, who is routed where, what is guessed, and what to run."""
    incident = replace(PAIR, not_seen_since=SINCE + timedelta(minutes=5))
    lines = section(await told(workspace, firing(incident))).splitlines()
    assert lines == [
        "🔴 *critical* · duplicate-address `10.0.0.1` · new",
        "*What*: 10.0.0.1 is held by edge-fra-1 and edge-sin-1.",
        "*Nodes* (2): `edge-fra-1`, `edge-sin-1`",
        "*First seen*: 2026-03-01 02:59 UTC",
        "*Not seen since*: 2026-03-01 03:04 UTC (a gap hides whether it still stands)",
        "*Routed* to `edge-sin-1` ▇▇▇▇▇▇▇▇▇▇ 6 observers (ams 1, sin 5)",
        "*Routed* to `nobody` ▇▇▇ 2 observers (region unknown 2)",
        "*Routed* to `edge-fra-1` ▇▇ 1 observer (ams 1)",
        "*Regions*: `fra`, `sin`",
        f"*Cause* (a guess): {PAIR.guess}",
        "*Follows from it*: displaced-allowed-ips ×3, split-routing",
        "*Documentation*: docs/findings.md#duplicate-address",
        "Run: `wgaudit explain 10.0.0.1`",
        "Who is affected: `wgaudit affected 10.0.0.1`",
    ]


async def test_a_message_leads_on_and_says_whose_it_is(workspace: SlackDouble) -> None:
    """To the story, to all whom it concerns, and to the plan, as the reader runs them; what is over to its story."""
    slack = Slack("team", SecretStr(workspace.webhook), sender=SENDER)
    await slack.send(slack.payload([firing(replace(PAIR, mesh="prod-eu")), resolved()]))
    message = workspace.messages[-1]
    assert section(message, 0).endswith("(mesh prod-eu)")
    assert section(message).splitlines()[-3:] == [
        "Run: `ssh audit-1 wgaudit explain 10.0.0.1`",
        "Who is affected: `ssh audit-1 wgaudit affected 10.0.0.1`",
        "Repair: `ssh audit-1 wgaudit plan --address 10.0.0.1`",
    ]
    assert section(message, 2).endswith("\nRun: `ssh audit-1 wgaudit explain 10.0.0.1`")
    assert message["blocks"][-1]["elements"][0]["text"] == "mesh `prod-eu` · wgaudit 1.2.3"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (NotifyReason.FIRST_NOTIFICATION, "new"),
        (NotifyReason.CLAIMANTS_CHANGED, "the claimants changed"),
        (NotifyReason.SEVERITY_RAISED, "more severe than before"),
        (NotifyReason.REPEAT_INTERVAL_ELAPSED, "still standing"),
    ],
)
async def test_each_section_says_why_it_comes(
    workspace: SlackDouble, reason: NotifyReason, words: str
) -> None:
    """So that nobody wonders what is new."""
    message = await told(workspace, firing(reason=reason))
    assert section(message).splitlines()[0].endswith(f"· {words}")


async def test_what_is_over_is_green_and_says_so(workspace: SlackDouble) -> None:
    """In the section and in the fallback."""
    message = await told(workspace, resolved())
    assert section(message).startswith("🟢 *RESOLVED* · duplicate-address `10.0.0.1`")
    assert "resolved: duplicate-address 10.0.0.1" in message["text"]
    assert section(message, 0) == "wgaudit: resolved: duplicate-address 10.0.0.1"


async def test_what_is_over_is_told_as_it_was(workspace: SlackDouble) -> None:
    """Nobody must read in the present tense who is routed where."""
    lines = section(await told(workspace, replace(resolved(), at=SINCE + timedelta(hours=2)))).splitlines()
    assert "*First seen*: 2026-03-01 02:59 UTC, over 2026-03-01 04:59 UTC" in lines
    assert any(line.startswith("*What it was*: ") for line in lines)
    assert not any("Routed" in line for line in lines)


async def test_a_link_to_the_documentation_goes_where_the_settings_say(workspace: SlackDouble) -> None:
    """The project has no address of its own that a browser could open."""
    slack = Slack(
        "team",
        SecretStr(workspace.webhook),
        sender=Sender(Guide(docs_url="https://docs.example.net/findings")),
    )
    await slack.send(slack.payload([firing()]))
    link = "<https://docs.example.net/findings#duplicate-address|duplicate-address>"
    assert f"*Documentation*: {link}" in section(workspace.messages[-1])


@pytest.mark.parametrize("status", Status)
async def test_a_trial_is_marked_wherever_it_is_read(workspace: SlackDouble, status: Status) -> None:
    """Nobody gets up at night for it."""
    message = await told(workspace, trial(status))
    for text in (message["text"], section(message, 0), section(message)):
        assert "TEST - not an incident" in text


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
async def test_a_nodes_name_pings_nobody_and_breaks_out_of_nothing(workspace: SlackDouble, name: str) -> None:
    """A node names itself; Consul is writable by many."""
    hostile = replace(
        PAIR,
        subject=name,
        summary=f"{name} and {name}",
        guess=f"Probably {name}",
        nodes=(name, "good"),
        regions=(name,),
        routing=((name, 3, ((name, 3),)),),
    )
    message = await told(workspace, firing(hostile))
    assert workspace.pings == []
    assert all(line.count("`") % 2 == 0 for text in texts(message) for line in text.split("\n"))
    labels = [
        line.partition(":")[0].partition("*")[2].partition("*")[0] for line in section(message).split("\n")
    ]
    assert set(labels) <= {
        "critical", "First seen", "What", "Nodes", "Regions", "Routed", "Cause", "Follows from it",
        "Documentation", "",
    }  # fmt: skip
    assert "`good`" in section(message)


async def test_thousands_of_nodes_are_cut_with_a_count(workspace: SlackDouble) -> None:
    """The count is of those that are not named."""
    nodes = tuple(f"worker-{number:05}" for number in range(5000))
    text = section(await told(workspace, firing(replace(PAIR, nodes=nodes))))
    line = next(line for line in text.splitlines() if line.startswith("*Nodes*"))
    assert line.startswith("*Nodes* (5,000): `worker-00000`, ")
    assert line.endswith(f" and {5000 - line.count('worker-'):,} more")
    assert "\nRun: `wgaudit explain 10.0.0.1`\n" in text


async def test_forty_long_incidents_are_all_in_one_message(workspace: SlackDouble) -> None:
    """Each gets a section, shorter, that says how much it lacks and what to run."""
    long = [
        replace(
            PAIR,
            subject=f"10.0.0.{number}",
            address=f"10.0.0.{number}/32",
            fingerprint=str(number),
            summary="long " * 500,
        )
        for number in range(40)
    ]
    message = await told(workspace, *map(firing, long))
    assert len(message["blocks"]) == 41
    for number in range(40):
        text = section(message, number + 1)
        assert f"`10.0.0.{number}`" in text.splitlines()[0]
        assert "that did not fit" in text
        assert text.endswith(f"Run: `wgaudit explain 10.0.0.{number}`")


async def test_incidents_beyond_the_block_limit_are_counted(workspace: SlackDouble) -> None:
    """Fifty blocks, whatever is asked for."""
    message = await told(workspace, *[firing(replace(PAIR, fingerprint=str(number))) for number in range(90)])
    assert section(message, 0) == "wgaudit: critical: duplicate-address 10.0.0.1 and 89 more firing"
    shown = len(message["blocks"]) - 2
    assert section(message, -1).startswith(f"… and {90 - shown} more: duplicate-address `10.0.0.1`, ")


async def test_a_storm_is_one_message_with_the_worst_in_full_and_the_others_named_and_counted(
    workspace: SlackDouble,
) -> None:
    storm = [
        firing(replace(PAIR, subject=f"10.0.{number // 250}.{number % 250}", fingerprint=str(number)))
        for number in range(500)
    ]
    mild = [firing(replace(PAIR, subject="mild", fingerprint="m", severity=Severity.WARNING))]
    message = await told(workspace, *mild, *storm, in_full=10)
    assert section(message, 0) == "wgaudit: critical: duplicate-address 10.0.0.0 and 500 more firing"
    assert len(message["blocks"]) == 12
    assert "`10.0.0.9`" in section(message, 10)
    last = section(message, 11)
    assert last.startswith("… and 491 more: duplicate-address `10.0.0.10`, duplicate-address `10.0.0.11`, ")
    assert last.endswith(" more\n*All of them*: `wgaudit sweep`")


async def test_a_command_that_does_not_fit_is_left_out_whole(workspace: SlackDouble) -> None:
    """Half a command would be pasted."""
    message = await told(workspace, firing(replace(PAIR, subject="n" * 4000, address="")))
    assert "Run:" not in section(message)


async def test_the_double_refuses_what_slack_refuses(workspace: SlackDouble) -> None:
    """Else the tests above would prove nothing."""
    slack = Slack("team", SecretStr(workspace.webhook))
    text = {"type": "mrkdwn", "text": "x"}
    header: dict[str, Any] = {"type": "header", "text": {"type": "plain_text", "text": "x"}}

    def sections(size: int, count: int = 1) -> list[dict[str, Any]]:
        return [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * size}}] * count

    refused: list[tuple[Any, str]] = [
        ([], "invalid_payload"),
        ({"blocks": [header]}, "no_text"),
        ([header] * 51, "invalid_blocks"),
        ([{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}], "invalid_blocks"),
        (sections(3001), "invalid_blocks"),
        (sections(0), "invalid_blocks"),
        ([{"type": "section", "fields": [text] * 11}], "invalid_blocks"),
        ([{"type": "context", "elements": [text] * 11}], "invalid_blocks"),
        ([{"type": "banner"}], "invalid_blocks"),
        (sections(2900, 5), "msg_blocks_too_long"),
    ]
    for sent, word in refused:
        message = {"text": "t", "blocks": sent} if isinstance(sent, list) and sent else sent
        with pytest.raises(DeliveryError, match=word) as caught:
            await slack.send(json.dumps(message).encode())
        assert caught.value.permanent
    with pytest.raises(DeliveryError, match="no_service"):
        await Slack("team", SecretStr(f"{workspace.url}/services/gone")).send(slack.payload([firing()]))
    assert workspace.messages == []


async def test_the_rate_limit_is_said_with_its_pause(workspace: SlackDouble) -> None:
    """About one message a second: `pause` keeps to it."""
    workspace.seconds_between = 30.0
    slack = Slack("team", SecretStr(workspace.webhook))
    await slack.send(slack.payload([firing()]))
    with pytest.raises(DeliveryError) as caught:
        await slack.send(slack.payload([firing()]))
    assert (caught.value.permanent, caught.value.retry_after) == (False, 1.0)
    assert slack.pause >= 1.0


async def test_every_published_refusal_in_a_200_is_final(workspace: SlackDouble) -> None:
    """The words are Slack's own."""
    slack = Slack("team", SecretStr(workspace.webhook))
    for word in (
        b"invalid_payload",
        b"action_prohibited",
        b"invalid_token",
        b"channel_not_found",
        b"no_service",
    ):
        workspace.fault = Reply(200, word)
        with pytest.raises(DeliveryError) as caught:
            await slack.send(slack.payload([firing()]))
        assert caught.value.permanent
