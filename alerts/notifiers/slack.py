"""Slack, by an incoming webhook: a header with the verdict, and a section for each incident."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from alerts.models import Incident, Notification, Status
from alerts.notifiers import incident_text as wording
from alerts.notifiers.http import NO_OPTIONS, CallOptions, deliver_message
from auditor.values.models import Severity
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
_COMMAND = 130
_MARKS = {Severity.CRITICAL: "🔴", Severity.ERROR: "🟠", Severity.WARNING: "🟡", Severity.INFO: "🔵"}


@dataclass(frozen=True, slots=True)
class Slack:
    """One incoming webhook. Its URL is a secret."""

    name: str
    url: SecretStr
    timeout: float = 10.0
    max_per_message: int = 10
    pause: float = 1.0
    """A webhook takes about one message a second."""
    docs_url: str = ""
    """URL of docs/findings.md; "": the document is only named."""
    options: CallOptions = NO_OPTIONS

    def payload(self, notifications: Sequence[Notification]) -> bytes:
        """Build one message with all notifications; see `Notifier.payload`."""
        shown = min(len(notifications), BLOCKS)
        for share in _SHARES:
            blocks = _blocks(notifications, share, shown, self.docs_url)
            if _fits(blocks):
                break
        while not _fits(blocks):
            shown -= 1
            blocks = _blocks(notifications, _SHARES[-1], shown, self.docs_url)
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
    notifications: Sequence[Notification], share: int, shown: int, docs_url: str
) -> list[dict[str, object]]:
    title = for_log(f"wgaudit: {wording.verdict(notifications)}", most=HEADER).replace("`", "'")
    blocks: list[dict[str, object]] = [{"type": "header", "text": {"type": "plain_text", "text": title}}]
    blocks += [_text_block(_section(item, share, docs_url)) for item in notifications[:shown]]
    left = len(notifications) - shown
    if left:
        blocks.append(
            _text_block(f"… and {left:,} more that did not fit: run `wgaudit sweep` for all of them")
        )
    return blocks


def _text_block(text: str) -> dict[str, object]:
    # verbatim: Slack makes no links and no mentions of its own out of what it reads.
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _section(notification: Notification, limit: int, docs_url: str) -> str:
    """Build the section of an incident in at most `limit` characters; lines that do not fit are counted."""
    incident = notification.incident
    title = _title(notification)
    run = f"\nRun: `{for_slack(incident.explain, most=400)}`"
    whole = len(incident.explain) <= _COMMAND and harmless(incident.explain) and "`" not in incident.explain
    if not whole or len(title) + len(run) > limit:
        run = ""  # half a command, or a changed one, is worse than none
    text = title
    cut = 0
    for line in _lines(notification, docs_url):
        reserve = len(run) + len("\n… and 99 lines that did not fit")
        if len(text) + 1 + len(line) + reserve <= limit:
            text += f"\n{line}"
        else:
            cut += 1
    if cut:
        text += f"\n… and {count(cut, 'line')} that did not fit"
    return text + run


def _title(notification: Notification) -> str:
    incident = notification.incident
    state = "RESOLVED" if notification.status is Status.RESOLVED else incident.severity.value
    mark = "🟢" if notification.status is Status.RESOLVED else _MARKS[incident.severity]
    if wording.is_test(notification):
        mark, state = "⚪", f"{wording.TEST_MARK} ({state})"
    reason = wording.REASONS[notification.reason]
    return f"{mark} *{state}* · {for_slack(incident.check, most=40)} {_code(incident.subject, 60)} · {reason}"


def _lines(notification: Notification, docs_url: str) -> Iterator[str]:
    """List the facts of an incident, the most important first; of a resolved one, its former state."""
    incident = notification.incident
    over = notification.status is Status.RESOLVED
    yield f"*{'What it was' if over else 'What'}*: {for_slack(incident.summary, most=700)}"
    if incident.nodes:
        yield f"*Nodes* ({len(incident.nodes):,}): {listed_within([_code(one) for one in incident.nodes], 500)}"
    if incident.since is not None:
        until = f", over {minute(notification.at)}" if over and notification.at else ""
        yield f"*First seen*: {minute(incident.since)}{until}"
    if incident.not_seen_since is not None:
        why = "" if incident.flapping_since is not None else " (a gap hides whether it still stands)"
        yield f"*Not seen since*: {minute(incident.not_seen_since)}{why}"
    if incident.flapping_since is not None:
        yield f"*Comes and goes since*: {minute(incident.flapping_since)}"
    if not over:
        yield from _routed(incident)
    if incident.regions:
        yield f"*Regions*: {listed_within([_code(one) for one in incident.regions], 200)}"
    if incident.guess:
        yield f"*Cause* (a guess): {for_slack(incident.guess, most=300)}"
    if incident.follows:
        yield f"*Follows from it*: {for_slack(wording.follows(incident, 200), most=240)}"
    yield f"*Documentation*: {for_slack(wording.documentation(incident, docs_url), most=400)}"


def _routed(incident: Incident) -> Iterator[str]:
    """Draw a line for each destination, with a bar, the busiest first."""
    most = max((pick[1] for pick in incident.routing), default=0)
    busiest = sorted(incident.routing, key=lambda pick: (-pick[1], pick[0]))
    for pick in busiest[:_PICKS]:
        bar = "▇" * max(1, round(_BAR * pick[1] / most)) if most else ""
        yield f"*Routed* to {_code(pick[0])} {bar} {for_slack(wording.observers(pick, 120), most=180)}"
    if len(busiest) > _PICKS:
        yield f"*Routed* to {len(busiest) - _PICKS:,} more"


def _code(text: str, limit: int = wording.LONGEST_NAME) -> str:
    return f"`{for_slack(text, most=limit) or ' '}`"
