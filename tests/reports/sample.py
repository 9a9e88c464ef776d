"""Reports written down as literals: the incident, a clean fleet, an unseen one, a hostile one, a huge one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from auditor.checks.idents import Ident
from auditor.errors import GapReason
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.answer_words import answers_sentence
from auditor.values.findings import (
    Claim,
    Evidence,
    Finding,
    Guess,
    GuessedCause,
    Pick,
    Severity,
    Sureness,
    Witness,
)
from auditor.values.models import Gap, NodeId
from auditor.values.report import Coverage, Report, Verdict
from auditor.values.witness_answers import AnswerSource, Reached

STARTED = datetime(2026, 3, 1, 2, 59, 30, tzinfo=UTC)
FINISHED = STARTED + timedelta(seconds=12.345)

HOSTILE_NAMES = (
    "[red]x[/red]",
    "\x1b[31mred\x1b[0m",
    "a\nb\r\nc",
    "\u202egnp.exe",
    "tab\there\x07",
    "lone\udc80surrogate",
    "back\\slash",
    "名前" * 15,
    "e" + "\u0301" * 40,
    "invisible\u200b\ufeff\u3164",
    "n" * 300,
    "",
)


def key(name: str) -> PublicKey:
    """A well-formed public key, the same for the same name."""
    return PublicKey(
        base64.b64encode(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()).decode()
    )


def node(name: str, datacenter: str = "dc1") -> NodeId:
    """A node of the sample fleet."""
    return NodeId(datacenter, name)


def claims(address: str, *names: str, first_index: int = 4711, device: bool = True) -> tuple[Claim, ...]:
    """Each node claims the address by registration, and by its device too."""
    made = []
    for offset, name in enumerate(names):
        index = first_index + offset
        where = f"wireguard/nodes/{name}"
        made.append(
            Claim(
                Witness.REGISTERED, Prefix(address), key(name), node(name), where, index, index + 20 * offset
            )
        )
    if device:
        made += [Claim(Witness.DEVICE, Prefix(address), key(name), node(name), "wg0") for name in names]
    return tuple(made)


def pick(name: str | None, regions: dict[str, int], *sample: str) -> Pick:
    """So many observers of each region send to the node (None: to nobody)."""
    return Pick(
        key(name) if name else None,
        node(name) if name else None,
        sum(regions.values()),
        regions,
        tuple(node(observer) for observer in sample),
    )


PAIR = Finding(
    check=Ident.DUPLICATE_ADDRESS,
    severity=Severity.CRITICAL,
    subject="10.0.0.1",
    statement=("edge-fra-1 and edge-sin-1 both hold 10.0.0.1, in the registry and on their devices."),
    nodes=(node("edge-fra-1"), node("edge-sin-1")),
    regions=("fra", "sin"),
    evidence=Evidence(
        claims=claims("10.0.0.1/32", "edge-fra-1", "edge-sin-1"),
        routing=(
            pick("edge-sin-1", {"ams": 6, "nrt": 8, "sin": 7, "fra": 2}, "worker-ams-1", "worker-nrt-1"),
            pick("edge-fra-1", {"fra": 6, "iad": 6}, "worker-fra-1"),
            pick(None, {"iad": 1}, "worker-iad-9"),
        ),
    ),
    address=Prefix("10.0.0.1/32"),
    guess=Guess(
        GuessedCause.PARALLEL_WRITERS,
        Sureness.PROBABLE,
        "written by parallel writers: their Consul indexes are 1 apart; "
        "10.0.0.1 is the first address of its pool, which the allocator hands out when it falls back",
        (("CreateIndex apart", "1"),),
    ),
    confirmed=True,
)

TRIPLE = Finding(
    check=Ident.DUPLICATE_ADDRESS,
    severity=Severity.CRITICAL,
    subject="10.20.0.7",
    address=Prefix("10.20.0.7/32"),
    statement="cache-ams-3, db-iad-2 and worker-nrt-4 hold 10.20.0.7 in the registry.",
    nodes=(node("cache-ams-3"), node("db-iad-2"), node("worker-nrt-4")),
    regions=("ams", "iad", "nrt"),
    evidence=Evidence(
        claims=claims("10.20.0.7/32", "cache-ams-3", "db-iad-2", "worker-nrt-4", device=False),
        routing=(
            pick("db-iad-2", {"": 1, "ams": 5, "fra": 6, "iad": 6}),
            pick("worker-nrt-4", {"nrt": 7, "sin": 8}),
            pick("cache-ams-3", {"ams": 2}),
        ),
    ),
    confirmed=None,
)


def follower(check: Ident, subject: str, cause: Finding, observers: int = 0, party: str = "") -> Finding:
    """A finding that follows from another one."""
    beside = subject[0].isdigit()
    return Finding(
        check=check,
        severity=Severity.ERROR if check is not Ident.SPLIT_ROUTING else Severity.CRITICAL,
        subject=f"{subject} of {party}" if party else subject,
        statement=f"{subject} follows.",
        address=cause.address if beside else None,
        party=party or ("" if beside else subject),
        nodes=(node(subject),) if not beside else (),
        evidence=Evidence(observers=observers),
        confirmed=True,
        caused_by=cause.fingerprint,
    )


FOLLOWERS = (
    follower(Ident.SPLIT_ROUTING, "10.0.0.1", PAIR),
    follower(Ident.DISPLACED_ALLOWED_IPS, "10.0.0.1", PAIR, 23, party="edge-fra-1"),
    follower(Ident.DISPLACED_ALLOWED_IPS, "10.0.0.1", PAIR, 12, party="edge-sin-1"),
    follower(Ident.SELF_ROUTED_ADDRESS, "10.0.0.1", PAIR, 1, party="edge-sin-1"),
    follower(Ident.REGION_MISMATCH, "10.0.0.1", PAIR, 36),
    follower(Ident.SPLIT_ROUTING, "10.20.0.7", TRIPLE),
)

DRIFT = Finding(
    check=Ident.ADDRESS_DRIFT,
    severity=Severity.ERROR,
    subject="worker-nrt-3",
    statement="worker-nrt-3 is registered with 10.0.3.1, but its own wg0 holds 10.0.3.9.",
    nodes=(node("worker-nrt-3"),),
    regions=("nrt",),
    evidence=Evidence(facts=(("registered", "10.0.3.1"), ("device", "10.0.3.9"))),
    confirmed=True,
)

REGION = Finding(
    check=Ident.REGION_MISMATCH,
    severity=Severity.ERROR,
    subject="db-sin-2",
    statement="The witnesses of its region disagree.",
    nodes=(node("db-sin-2"),),
    regions=("fra", "sin"),
    evidence=Evidence(
        facts=(("registration says", "fra"), ("name says", "sin"), ("node itself says", "sin"))
    ),
    confirmed=True,
)

UNREGISTERED = Finding(
    check=Ident.UNREGISTERED_PEER,
    severity=Severity.WARNING,
    subject=key("ghost"),
    public_key=key("ghost"),
    party=key("ghost"),
    statement="A peer that the registry does not list; it is routed 10.0.9.9.",
    guess=Guess(
        GuessedCause.COPIED_REGISTRATION,
        Sureness.POSSIBLE,
        "a server that was deregistered while it still runs, or the registry was read through a filter",
    ),
    regions=("ams", "sin"),
    evidence=Evidence(
        observers=37, sample=(node("worker-ams-1"), node("worker-ams-2"), node("worker-sin-1"))
    ),
    confirmed=True,
)

GONE = Finding(
    check=Ident.MISSING_PEER,
    severity=Severity.WARNING,
    subject="worker-iad-5",
    statement="Registered, but absent from 2 observers.",
    nodes=(node("worker-iad-5"),),
    regions=("iad",),
    evidence=Evidence(observers=2),
    confirmed=False,
)

REFUSED = Gap(
    "ssh", GapReason.CONNECT_REFUSED, "198.18.0.40 port 22: connection refused", "worker-nrt-9", "dc1"
)

REGIONS = {node(f"{role}-{region}-{number}"): region for region in ("sin", "fra", "nrt", "ams", "iad")
           for role in ("edge", "worker", "db", "cache") for number in range(1, 10)}  # fmt: skip


def report(
    verdict: Verdict,
    findings: Sequence[Finding] = (),
    gaps: Sequence[Gap] = (),
    *,
    registered: int = 40,
    observed: int = 40,
    cut_short: str | None = None,
) -> Report:
    """A report of the sample fleet."""
    return Report(
        verdict=verdict,
        started_at=STARTED,
        finished_at=FINISHED,
        coverage=Coverage(registered, observed, 5, 0),
        findings=tuple(findings),
        gaps=tuple(gaps),
        cut_short=cut_short,
        node_regions=REGIONS,
        node_keys={name: key(name.name) for name in REGIONS},
    )


def incident() -> Report:
    """The incident: a pair on the first address, a triple, drift, a ghost, two nodes that were not seen."""
    made = report(
        Verdict.FINDINGS,
        (PAIR, TRIPLE, *FOLLOWERS, DRIFT, REGION, UNREGISTERED, GONE),
        (
            REFUSED,
            Gap(
                "ssh",
                GapReason.HOST_KEY,
                "198.18.0.41 port 22: host key is not in known_hosts",
                "db-ams-4",
                "dc1",
            ),
        ),
        observed=38,
    )
    return replace(made, in_flight=(node("edge-iad-3"),))


def met(name: str | None, regions: dict[str, int], *, said: str = "", region: str | None = None) -> Reached:
    """So many observers of each region met the node at an address (None: a server that is no node)."""
    return Reached(
        AnswerSource.NATS,
        said or name or "",
        node(name) if name else None,
        sum(regions.values()),
        regions,
        region,
        sample=(node("worker-ams-1"),),
    )


def silent(regions: dict[str, int], reason: GapReason = GapReason.NO_ANSWER) -> Reached:
    """So many observers of each region got no answer."""
    return Reached(AnswerSource.NATS, "", None, sum(regions.values()), regions, reason=reason)


ANSWERS = (
    met("edge-fra-1", {"fra": 6, "iad": 3}, region="fra"),
    met("edge-sin-1", {"sin": 2}, region="fra"),
    silent({"nrt": 1}),
)
"""Of 12 asked, 9 met one of the pair, 2 the other, which calls its region another's, and 1 nobody."""
DISAGREEMENT = (
    "worker-iad-9 routes it to nobody, and edge-fra-1 answers it: something beside WireGuard decides."
)
UNANSWERED = Gap(
    "witness", GapReason.NO_ANSWER, "10.0.0.1 port 4222: nothing was said in 3 s", "worker-nrt-1", "dc1"
)


def answered(*answers: Reached, disagreement: str = "") -> Report:
    """The pair, with those who answered at its address, and a question that nobody answered."""
    finding = replace(
        PAIR,
        evidence=replace(PAIR.evidence, answers=answers),
        answers_statement=answers_sentence(answers, lambda node: node.name),
        disagreement=disagreement,
    )
    return report(Verdict.FINDINGS, (finding,), (UNANSWERED,))


def clean() -> Report:
    """Everything was seen and nothing found."""
    return report(Verdict.CLEAN)


def inconclusive() -> Report:
    """Nothing found, and one node not seen."""
    return report(Verdict.INCONCLUSIVE, (), (REFUSED,), observed=39)


def unread_registry() -> Report:
    """Consul refused one of two datacenters."""
    gap = Gap("consul", GapReason.CONSUL_FORBIDDEN, "GET wireguard/nodes/ answered 403", None, "dc2")
    return report(Verdict.INCONCLUSIVE, (), (gap,))


def every_gap() -> Report:
    """A gap of each reason."""
    gaps = [
        Gap("consul", reason, f"detail of {reason}", None, "dc1")
        if reason.startswith(("consul", "prefix", "registry"))
        else Gap("ssh", reason, f"detail of {reason}", f"node-{number}", "dc1")
        for number, reason in enumerate(GapReason)
    ]
    return report(Verdict.INCONCLUSIVE, (), gaps, observed=20)


def hostile() -> Report:
    """Names, regions, summaries and details that try to take over the terminal."""
    findings: list[Finding] = []
    for number, name in enumerate(HOSTILE_NAMES):
        subject = node(name)
        address = f"10.6.6.{number}"
        findings.append(
            Finding(
                check=Ident.DUPLICATE_ADDRESS,
                severity=Severity.CRITICAL,
                subject=address,
                statement=f"{name} and edge-sin-1 hold {address}.",
                address=Prefix(f"{address}/32"),
                guess=Guess(GuessedCause.COPIED_REGISTRATION, Sureness.PROBABLE, name),
                nodes=(subject, node("edge-sin-1")),
                regions=(name, "sin"),
                evidence=Evidence(
                    claims=claims(f"{address}/32", name, "edge-sin-1"),
                    routing=(pick(name, {name: 3, "sin": 1}), pick(None, {"": 2})),
                ),
            )
        )
        findings.append(
            Finding(
                check=Ident.ADDRESS_DRIFT,
                severity=Severity.ERROR,
                subject=name,
                statement=name,
                nodes=(subject,),
                regions=(name,),
                evidence=Evidence(observers=7, sample=(subject,), facts=((name, name),)),
                confirmed=False if number % 2 else None,
            )
        )
    gaps = [Gap("ssh", GapReason.AUTH, f"said {name}", name, name) for name in HOSTILE_NAMES]
    made = report(Verdict.FINDINGS, findings, gaps, cut_short="interrupted")
    return replace(
        made,
        node_regions={node(name): name for name in HOSTILE_NAMES},
        node_keys={node(name): key(name) for name in HOSTILE_NAMES},
        in_flight=tuple(node(name) for name in HOSTILE_NAMES),
        ambiguous_names=frozenset(HOSTILE_NAMES[:4]),
    )


def huge(nodes: int = 10_000, findings: int = 3_000) -> Report:
    """A large fleet in which almost a third of the nodes has a finding of its own."""
    names = [node(f"worker-{('sin', 'fra', 'nrt')[n % 3]}-{n}") for n in range(nodes)]
    made: list[Finding] = [PAIR, TRIPLE]
    for number in range(findings - 2):
        name = names[number]
        check, severity = (
            (Ident.ADDRESS_DRIFT, Severity.ERROR) if number < 1000 else (Ident.MISSING_PEER, Severity.WARNING)
        )
        made.append(
            Finding(
                check=check,
                severity=severity,
                subject=name.name,
                statement=f"{name.name} is not what it is registered as.",
                nodes=(name,),
                regions=(name.name.split("-")[1],),
                evidence=Evidence(observers=9_990, sample=tuple(names[:3])),
                confirmed=True,
            )
        )
    gaps = [
        replace(REFUSED, node=name.name, detail=f"198.18.1.{number} port 22: connection refused")
        for number, name in enumerate(names[:120])
    ]
    base = report(Verdict.FINDINGS, made, gaps, registered=nodes, observed=nodes - 120)
    return replace(
        base,
        node_regions={name: name.name.split("-")[1] for name in names},
        node_keys={name: key(name.name) for name in names},
    )
