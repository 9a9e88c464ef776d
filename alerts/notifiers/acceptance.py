"""Meaning of an answer to a message: any 2xx is a yes, unless it is a known no or a page of a proxy in between.

Services that take what Slack or PagerDuty take say yes in their own words, or in none. So what is listed here is how
services say *no* with a 2xx, and what no service that takes alerts would say at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import Enum

PERMANENT_WORDS = frozenset(
    {
        "action_prohibited", "channel_is_archived", "channel_not_found", "invalid_attachments", "invalid_blocks",
        "invalid_payload", "invalid_token", "missing_text_or_fallback_or_attachments", "msg_blocks_too_long",
        "msg_too_long", "no_active_hooks", "no_service", "no_service_id", "no_team", "no_text",
        "posting_to_general_channel_denied", "team_disabled", "token_revoked", "too_many_attachments",
        "user_not_found",
    }
)  # fmt: skip
"""Slack's and its likes' words for: never, whatever the status."""
PASSING_WORDS = frozenset(
    {
        "fatal_error", "internal_error", "rate_limited", "ratelimited", "request_timeout", "rollup_error",
        "service_unavailable",
    }
)  # fmt: skip
"""Their words for: not now."""
_FAILED = frozenset({"error", "fail", "failed", "failure", "invalid event", "rejected"})
"""Values of the field `status` that mean a refusal."""
# Nothing is tried twice, so that no answer of many comments takes for ever.
_PAGE = re.compile(
    r"\s*+(?:<!--(?:[^-]|-(?!->))*+-->\s*+)*+<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE
)


class Meaning(Enum):
    """Meaning of a 2xx answer."""

    TAKEN = "taken"
    REFUSED = "refused"
    """For good."""
    NOT_NOW = "not now"
    UNCLEAR = "unclear"
    """Perhaps it was taken, perhaps somebody in between answered."""


def meaning(body: str, accept: Sequence[str] = (), page: Meaning = Meaning.UNCLEAR) -> Meaning:
    """Classify the body of a 2xx answer.

    accept: parts of a body that mean yes, whatever else it says. page: what an HTML page means.
    """
    if any(part in body for part in accept):
        return Meaning.TAKEN
    said = body.strip()
    if (word := said.strip('"').lower()) in PERMANENT_WORDS:
        return Meaning.REFUSED
    if word in PASSING_WORDS:
        return Meaning.NOT_NOW
    if _PAGE.match(said):
        return page  # a portal's page, a proxy's apology
    if said.startswith("{"):
        return _of_object(said)
    return Meaning.TAKEN


def _of_object(said: str) -> Meaning:
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        return Meaning.UNCLEAR  # cut off somewhere, so that its meaning is not known
    if not isinstance(answer, dict):
        return Meaning.TAKEN
    if not _says_no({str(key).lower(): value for key, value in answer.items()}):
        return Meaning.TAKEN
    words = {str(value).lower() for value in answer.values()}
    return Meaning.NOT_NOW if words & PASSING_WORDS else Meaning.REFUSED


def _says_no(answer: dict[str, object]) -> bool:
    for field in ("ok", "success"):
        if field in answer:
            return str(answer[field]).lower() in ("false", "0", "no")
    if "status" in answer and str(answer["status"]).lower() in _FAILED:
        return True
    return bool(answer.get("error") or answer.get("errors"))
