"""What a running watch shows as live, read from the report of its page, which tells of what deviates."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from http import HTTPStatus

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from auditor.admission.judged_against import LiveHolder, LiveHolders
from auditor.admission.objections import Unseen
from auditor.errors import ConfigError, InvalidValue, UsageError
from auditor.service.asked_page import page_answer
from auditor.settings.file import Config
from auditor.values.addresses import Prefix, PublicKey, parse_prefix, parse_public_key
from auditor.values.json_bounds import check_json
from auditor.values.models import NodeId
from auditor.values.text import for_log, minute

MOST_BYTES = 64 * 1024 * 1024
ROUNDS_OLD = 3
"""Rounds after which a watch's newest view no longer says what is live."""
_REPORT = "/api/v1/report"


class _FromWatch(BaseModel):
    """Part of a report; a later version's further fields are passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _ShownClaim(_FromWatch):
    witness: str
    address: str
    public_key: str | None
    node: str | None
    datacenter: str | None


class _ShownPick(_FromWatch):
    public_key: str | None
    node: str | None
    observers: int


class _ShownEvidence(_FromWatch):
    claims: list[_ShownClaim]
    routing: list[_ShownPick]


class _ShownFinding(_FromWatch):
    address: str | None
    confirmed: bool | None
    evidence: _ShownEvidence


class _ShownGap(_FromWatch):
    scope: str
    reason: str
    detail: str


class _ShownCoverage(_FromWatch):
    registered: int
    observed: int
    share: float


class _ShownReport(_FromWatch):
    finished_at: AwareDatetime
    coverage: _ShownCoverage
    gaps: list[_ShownGap]
    findings: list[_ShownFinding]


def live_of_watch(config: Config, now: datetime) -> tuple[LiveHolders, tuple[Unseen, ...]]:
    """Ask the page at `watch.listen` for its report; return what it shows live, and what it could not see.

    now: time by which the report's age is told.
    A watch that does not answer, is not ready or shows an old view is in the second part. Raises `UsageError` where
    no page can be asked.
    """
    address = config.watch.address
    if address is None or (address.path is None and not address.port):
        raise UsageError(
            "--live asks the page at watch.listen, and it names none; set it as the watch has it"
        )
    try:
        status, raw = page_answer(config.watch, address, _REPORT, MOST_BYTES + 1)
    except ConfigError as error:
        return LiveHolders(), (Unseen("live", "watch-unreachable", str(error)),)
    except OSError as error:
        why = error.strerror or error
        return LiveHolders(), (
            Unseen("live", "watch-unreachable", f"{address}: {why}; does a watch run here?"),
        )
    if status != HTTPStatus.OK:
        what = f"{address}{_REPORT}: {status} {for_log(raw[:200].decode(errors='replace'), most=120)}"
        return LiveHolders(), (Unseen("live", "watch-not-ready", what),)
    try:
        if len(raw) > MOST_BYTES:
            raise InvalidValue(f"more than {MOST_BYTES} bytes")
        check_json(raw)
        report = _ShownReport.model_validate_json(raw)
        holders = _holders(report)
    except (InvalidValue, ValidationError) as error:
        why = "no report of a watch" if isinstance(error, ValidationError) else str(error)
        return LiveHolders(), (Unseen("live", "watch-unreadable", f"{address}{_REPORT}: {why}"),)
    return holders, tuple(_unseen(report, config, now))


def _unseen(report: _ShownReport, config: Config, now: datetime) -> Iterator[Unseen]:
    age = (now - report.finished_at).total_seconds()
    if age > ROUNDS_OLD * config.watch.round_interval:
        yield Unseen("live", "watch-old", f"the watch's newest view is of {minute(report.finished_at)}")
    coverage = report.coverage
    if not math.isfinite(coverage.share) or coverage.share < config.coverage.minimum:
        seen = f"the watch saw {coverage.observed:,} of {coverage.registered:,} nodes"
        yield Unseen("live", "coverage", f"{seen}; coverage.minimum is {config.coverage.minimum:g}")
    for gap in report.gaps:
        if gap.scope in ("registry", "sweep"):
            yield Unseen("live", for_log(gap.reason, most=40), for_log(gap.detail, most=200))


def _holders(report: _ShownReport) -> LiveHolders:
    held: dict[Prefix, list[LiveHolder]] = defaultdict(list)
    keys: dict[PublicKey, list[NodeId]] = defaultdict(list)
    routed: set[PublicKey] = set()
    for finding in report.findings:
        if finding.confirmed is False:
            continue
        for claim in finding.evidence.claims:
            if claim.witness not in ("device", "routed"):
                continue
            node, key = _node(claim.node, claim.datacenter), _key(claim.public_key)
            device = claim.witness == "device"
            held[parse_prefix(claim.address)].append(LiveHolder(node, key, 0 if device else 1))
            if key is not None and device and node is not None:
                keys[key].append(node)
            if key is not None and not device:
                routed.add(key)
        for pick in finding.evidence.routing:
            if finding.address is not None and pick.public_key is not None and pick.observers:
                holder = LiveHolder(_node(pick.node, None), _key(pick.public_key), pick.observers)
                held[parse_prefix(finding.address)].append(holder)
    return LiveHolders(
        {prefix: tuple(dict.fromkeys(items)) for prefix, items in held.items()},
        {key: tuple(dict.fromkeys(nodes)) for key, nodes in keys.items()},
        frozenset(routed),
    )


def _node(name: str | None, datacenter: str | None) -> NodeId | None:
    """Make a node of its shown name, which has its datacenter where the name alone is ambiguous."""
    if name is None:
        return None
    if datacenter is None:
        name, _, datacenter = name.partition("@")
    return NodeId(datacenter, name.removesuffix(f"@{datacenter}"))


def _key(text: str | None) -> PublicKey | None:
    return parse_public_key(text) if text is not None else None
