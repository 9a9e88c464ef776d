"""Slack, by an incoming webhook: a header with the verdict, and a section for each incident."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import SecretStr

from alerts.models import Incident, Notification, Status
from alerts.notifiers import incident_text as wording
from alerts.notifiers.http import NO_OPTIONS, CallOptions, deliver_message
from alerts.sender import PLAIN_SENDER, Sender
from auditor.values.findings import Severity
from auditor.values.text import count, for_log, for_slack, harmless, listed_within, minute

# Slack's reference for Block Kit and for incoming webhooks.
BLOCKS = 50
"""Blocks in a message."""
HEADER = 150
"""Characters of a header's text."""
SECTION = 3000
"""Characters of a section's text."""
MESSAGE = 13_000
"""Characters of all blocks together; above it Slack answers `msg_blocks_too_long`."""
FALLBACK = 1000
"""Characters of `text`, which notifications and screen readers show. Slack takes 40,000."""

_SHARES = (SECTION - 100, 1500, 800, 400, 200)
"""Characters that a section may take; the largest that lets all of them into one message."""
_BAR = 10
_PICKS = 8
_COMMAND = 200
_LINK = 400
_CUT = len("\n… and 99 lines that did not fit")
_MARKS = {Severity.CRITICAL: "🔴", Severity.ERROR: "🟠", Severity.WARNING: "🟡", Severity.INFO: "🔵"}


@dataclass(frozen=True, slots=True)
class Slack:
    """One incoming webhook. Its URL is a secret."""

    name: str
    url: SecretStr
    timeout: float = 10.0
    max_per_message: int = 10
    """Incidents that a message tells in full; the others are named and counted in it."""
    sums_up: ClassVar[bool] = True
    pause: float = 1.0
    """A webhook takes about one message a second."""
    sender: Sender = field(default=PLAIN_SENDER, repr=False)
    options: CallOptions = NO_OPTIONS

    def payload(self, notifications: Sequence[Notification]) -> bytes:
        """Build one message with all notifications; see `Notifier.payload`.

        Where there are more than it tells in full, those are the worst, and the others are named and counted.
        """
        shown = min(len(notifications), self.max_per_message, BLOCKS)
        if shown < len(notifications):
            notifications = sorted(notifications, key=_worst_first)
        for share in _SHARES:
            blocks = _blocks(notifications, share, shown, self.sender)
            if _fits(blocks):
                break
        while not _fits(blocks):
            shown -= 1
            blocks = _blocks(notifications, _SHARES[-1], shown, self.sender)
        return _json({"text": _fallback(notifications), "blocks": blocks})

    async def send(self, payload: bytes) -> str:
        """Send; see `Notifier.send`. Slack answers `ok`; compatible services answer otherwise."""
        answer = await deliver_message(self.url, payload, timeout=self.timeout, options=self.options)
        return answer.detail


def _fits(blocks: Sequence[object]) -> bool:
    return len(blocks) <= BLOCKS and len(_json(blocks).decode()) <= MESSAGE


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _fallback(notifications: Sequence[Notification]) -> str:
    lines = (wording.headline(item, 200) for item in notifications[:3])
    more = f" … and {len(notifications) - 3:,} more" if len(notifications) > 3 else ""
    return (
        for_slack(f"wgaudit: {wording.counted(notifications)}. {' '.join(lines)}", most=FALLBACK - len(more))
        + more
    )


def _blocks(
    notifications: Sequence[Notification], share: int, shown: int, sender: Sender
) -> list[dict[str, object]]:
    title = for_log(f"wgaudit: {wording.verdict(notifications)}", most=HEADER).replace("`", "'")
    blocks: list[dict[str, object]] = [{"type": "header", "text": {"type": "plain_text", "text": title}}]
    blocks += [_text_block(_section(item, share, sender)) for item in notifications[:shown]]
    if left := notifications[shown:]:
        blocks.append(_text_block(_summed_up(left, share, sender)))
    if about := _from(notifications, sender):
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": about, "verbatim": True}]})
    return blocks


def _worst_first(notification: Notification) -> tuple[bool, int]:
    return notification.status is Status.RESOLVED, notification.incident.severity.rank


def _summed_up(left: Sequence[Notification], limit: int, sender: Sender) -> str:
    """Count what a message does not tell in full, and name as many as fit into `limit` characters."""
    sweep = _command(sender.sweep)
    how = f"\n*All of them*: {sweep}" if sweep else ""
    named = [
        f"{for_slack(item.incident.check, most=40)} {_code(item.incident.subject, 60)}"
        + (" (over)" if item.status is Status.RESOLVED else "")
        for item in left
    ]
    return f"… and {len(left):,} more: {listed_within(named, limit // 2)}{how}"


def _text_block(text: str) -> dict[str, object]:
    # verbatim: Slack makes no links and no mentions of its own out of what it reads.
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _section(notification: Notification, limit: int, sender: Sender) -> str:
    """Build the section of an incident in at most `limit` characters; lines that do not fit are counted."""
    title = _title(notification)
    run = ""
    for label, command in sender.leads(notification.incident, notification.status).each:
        line = f"\n{label}: {_command(command)}" if _command(command) else ""
        # The story comes before all facts; what leads on from it leaves them room.
        if len(title) + len(run) + len(line) <= (limit if not run else limit // 2):
            run += line
    text = title
    cut = 0
    for line in _lines(notification, sender):
        reserve = len(run) + _CUT
        if len(text) + 1 + len(line) + reserve <= limit:
            text += f"\n{line}"
        else:
            cut += 1
    if cut:
        text += f"\n… and {count(cut, 'line')} that did not fit"
    return text + run


def _command(command: str) -> str:
    """Write a command as code; "" where it would not be whole: half a command, or a changed one, is worse than none."""
    whole = len(command) <= _COMMAND and harmless(command) and "`" not in command
    return f"`{for_slack(command, most=4 * _COMMAND)}`" if whole else ""


def _title(notification: Notification) -> str:
    incident = notification.incident
    state = "RESOLVED" if notification.status is Status.RESOLVED else incident.severity.value
    mark = "🟢" if notification.status is Status.RESOLVED else _MARKS[incident.severity]
    if wording.is_test(notification):
        mark, state = "⚪", f"{wording.TEST_MARK} ({state})"
    reason = wording.REASONS[notification.reason]
    return f"{mark} *{state}* · {for_slack(incident.check, most=40)} {_code(incident.subject, 60)} · {reason}"


def _lines(notification: Notification, sender: Sender) -> Iterator[str]:
    """List the facts of an incident, the most important first; of a resolved one, its former state."""
    incident = notification.incident
    over = notification.status is Status.RESOLVED
    yield f"*{'What it was' if over else 'What'}*: {for_slack(incident.summary, most=700)}"
    if incident.disagreement and not over:
        yield f"*But*: {for_slack(incident.disagreement, most=400)}"
    if incident.nodes:
        yield f"*Nodes* ({len(incident.nodes):,}): {_codes(incident.nodes, 500)}"
    if incident.since is not None:
        until = f", over {minute(notification.at)}" if over and notification.at else ""
        yield f"*First seen*: {minute(incident.since)}{until}"
    if incident.not_seen_since is not None:
        why = "" if incident.flapping_since is not None else " (a gap hides whether it still stands)"
        yield f"*Not seen since*: {minute(incident.not_seen_since)}{why}"
    if incident.flapping_since is not None:
        yield f"*Comes and goes since*: {minute(incident.flapping_since)}"
    if not over:
        yield from _drained(incident)
        yield from _routed(incident)
        yield from (
            f"*Who answers there*: {for_slack(line, most=600)}" for line in wording.answered(incident)
        )
    if incident.regions:
        yield f"*Regions*: {_codes(incident.regions, 200)}"
    if incident.guess:
        yield f"*Cause* (a guess): {for_slack(incident.guess, most=300)}"
    if incident.follows:
        yield f"*Follows from it*: {for_slack(wording.follows(incident, 200), most=240)}"
    yield f"*Documentation*: {_documentation(incident, sender)}"


def _drained(incident: Incident) -> Iterator[str]:
    if incident.drained:
        yield f"*Out of production*: {for_slack('; '.join(wording.drained(incident)), most=500)}"


def _documentation(incident: Incident, sender: Sender) -> str:
    """Write the place that explains the check: a link that Slack opens, or a path."""
    link = sender.link(incident)
    if not link or len(link) > _LINK or not harmless(link):
        return for_slack(sender.documentation(incident), most=_LINK)
    return f"<{for_slack(link, most=4 * _LINK).replace('|', '%7C')}|{for_slack(incident.check, most=40)}>"


def _from(notifications: Sequence[Notification], sender: Sender) -> str:
    """Write which meshes the message is about, and which wgaudit sent it."""
    meshes = sorted({item.incident.mesh for item in notifications if item.incident.mesh})
    about = [f"mesh {listed_within([_code(mesh) for mesh in meshes], 300)}"] if meshes else []
    return " · ".join(
        [*about, *([f"wgaudit {for_slack(sender.version, most=40)}"] if sender.version else [])]
    )


def _routed(incident: Incident) -> Iterator[str]:
    """Draw a line for each destination, with a bar, the busiest first."""
    most = max((pick[1] for pick in incident.routing), default=0)
    busiest = sorted(incident.routing, key=lambda pick: (-pick[1], pick[0]))
    for pick in busiest[:_PICKS]:
        bar = "▇" * max(1, round(_BAR * pick[1] / most)) if most else ""
        yield f"*Routed* to {_code(pick[0])} {bar} {for_slack(wording.observers(pick, 120), most=180)}"
    if len(busiest) > _PICKS:
        yield f"*Routed* to {len(busiest) - _PICKS:,} more"


def _codes(names: Sequence[str], characters: int) -> str:
    """List as many names as fit, each as code. Those that cannot fit are not escaped first: there may be thousands."""
    first = [_code(name) for name in names[: characters // 3 + 1]]
    return listed_within(first, characters, total=len(names))


def _code(text: str, limit: int = wording.LONGEST_NAME) -> str:
    return f"`{for_slack(text, most=limit) or ' '}`"
