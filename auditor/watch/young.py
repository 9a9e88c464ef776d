"""PURE: findings that a "not yet" may explain: a registration moved just now, and devices and peers follow later."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from auditor.checks.idents import PEER_LIST, Ident
from auditor.checks.missing_peer import LONELY_SHARE
from auditor.fleet.showing import moved_in
from auditor.gather.settling import moving_values
from auditor.judge import finding_order, with_causes
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.findings import CheckIdent, Finding
from auditor.values.models import MovedRegistration, NodeId, Registration
from auditor.values.report import Report, Verdict

NEVER_YOUNG: frozenset[CheckIdent] = frozenset(
    {
        Ident.DUPLICATE_ADDRESS,
        Ident.DUPLICATE_NODE_NAME,
        Ident.DUPLICATE_PUBLIC_KEY,
        Ident.INVALID_REGISTRATION,
        Ident.OUTSIDE_POOL,
        Ident.REGISTRATION_VANISHED,
        Ident.UNSETTLED_REGISTRATION,
        Ident.WRONG_HOST,
    }
)
"""Checks whose findings no device and no peer that follows later would end."""
LONGEST = 5.0
"""Intervals after which a finding is told, though its registration moves again and again."""
MOST_FORMS = 8
"""Forms of one registration that are kept, the newest."""


@dataclass(slots=True)
class _Moves:
    """Moves of one registration."""

    at: float
    """When it moved last."""
    forms: dict[object, Registration] = field(default_factory=dict)


class YoungFindings:
    """Young findings of one fleet, which nobody is told of yet. Times are seconds of one steady clock.

    A finding is young while a registration that it rests on moved less than one interval ago. What the registry alone
    shows never is, nor what was told before.
    """

    def __init__(self) -> None:
        self._moves: dict[NodeId, _Moves] = {}
        """By node, the one that moved last at the end."""
        self._since: dict[str, float] = {}
        """By fingerprint of a young finding: when it was young first."""
        self.of_age_at = float("inf")
        """Time when the next of them comes of age, and is to be told if it still stands."""

    def moved(self, forms: Iterable[Registration], now: float) -> None:
        """Take in forms, old and new, of registrations that moved now."""
        for form in forms:
            moves = self._moves.pop(form.node, None) or _Moves(now)
            moves.at = now
            values = moving_values(form)
            moves.forms.pop(values, None)
            moves.forms[values] = form
            if len(moves.forms) > MOST_FORMS:
                del moves.forms[next(iter(moves.forms))]
            self._moves[form.node] = moves

    def left_out_of(self, report: Report, already: Collection[str], now: float, interval: float) -> Report:
        """Leave the young findings out of a report: they are neither told nor over. The report itself if none is.

        already: fingerprints of incidents that were told, and are not young any more. interval: seconds for which a
        finding is young. What follows from a young finding, and leads an incident without it, is young with it.
        """
        self._forget(now - interval)
        ages = self._ages(report, already, now, interval) if self._moves else {}
        self._since = {mark: self._since.get(mark, now) for mark in ages}
        # Each telling of what came of age takes its time, if moves come one after the other.
        self.of_age_at = max(min(ages.values(), default=float("inf")), now + 1.0)
        return _without(report, ages.keys()) if ages else report

    def _forget(self, before: float) -> None:
        for node, moves in list(self._moves.items()):
            if moves.at > before:
                break
            del self._moves[node]

    def _ages(
        self, report: Report, already: Collection[str], now: float, interval: float
    ) -> Mapping[str, float]:
        """Map the young findings to the time at which they come of age."""
        lately = _MovedLately(self._moves, many=len(report.registered))
        ages: dict[str, float] = {}
        standing = report.standing
        first_causes = {item.fingerprint: item.caused_by for item in standing}
        while True:
            led = with_causes(item for item in standing if item.fingerprint not in ages)
            found: dict[str, float] = {}
            for item in led:
                mark = item.fingerprint
                if item.caused_by is not None or item.check in NEVER_YOUNG or mark in already:
                    continue
                if item.check is Ident.FALLBACK_ADDRESS:
                    # A shared one that a node just left: whoever is left there is mostly moved next.
                    at, cause = lately.left_at(item), None
                else:
                    at, cause = lately.moved_at(item), ages.get(first_causes[mark] or "")
                until = max(cause or now, now if at is None else at + interval)
                until = min(until, self._since.get(mark, now) + LONGEST * interval)
                if until > now:
                    found[mark] = until
            if not found:
                return ages
            ages |= found


class _MovedLately:
    """Registrations that moved lately, by what findings name."""

    def __init__(self, moves: Mapping[NodeId, _Moves], *, many: int) -> None:
        """many: number of all registrations."""
        self._moves = moves
        self._by_address: dict[Prefix | None, set[NodeId]] = {}
        self._by_key: dict[PublicKey | None, set[NodeId]] = {}
        for node, of_node in moves.items():
            for form in of_node.forms.values():
                self._by_key.setdefault(form.public_key, set()).add(node)
                for address in form.addresses:
                    self._by_address.setdefault(address, set()).add(node)
        # So many that who has none of them as peers lacks most of its list.
        self._explain_lists = len(moves) > LONELY_SHARE * (many - 1)

    def moved_at(self, finding: Finding) -> float | None:
        """Return when a registration that the finding rests on moved last; None: none did lately."""
        if self._explain_lists and finding.identity[:1] == (PEER_LIST,):
            return max(of_node.at for of_node in self._moves.values())
        near = {node for node in finding.nodes if node in self._moves}
        near |= self._by_address.get(finding.address, set()) | self._by_key.get(finding.public_key, set())
        return max((self._moves[node].at for node in near if self._is_under(finding, node)), default=None)

    def left_at(self, finding: Finding) -> float | None:
        """Return when a node was last registered without the finding's address, which had it; None: none was lately."""
        left = (
            node
            for node in self._by_address.get(finding.address, ())
            if node not in finding.nodes or finding.address not in self._newest(node).addresses
        )
        return max((self._moves[node].at for node in left), default=None)

    def _newest(self, node: NodeId) -> Registration:
        return next(reversed(self._moves[node].forms.values()))

    def _is_under(self, finding: Finding, node: NodeId) -> bool:
        forms = self._moves[node].forms.values()
        return moved_in(finding, (MovedRegistration(form, 1) for form in forms)) > 0


def _without(report: Report, young: Collection[str]) -> Report:
    """Leave findings out of a report, as withheld. What followed from them leads itself, or follows from another."""
    gone = [item for item in report.findings if item.confirmed is False]
    kept = [item for item in report.findings if item.confirmed is not False and item.fingerprint not in young]
    left = replace(
        report,
        findings=tuple(sorted((*gone, *with_causes(kept)), key=finding_order)),
        withheld=report.withheld | frozenset(young),
        seen_enough=False,
    )
    return left if left.standing else replace(left, verdict=Verdict.INCONCLUSIVE)
