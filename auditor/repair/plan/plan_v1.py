"""PURE: a plan as JSON text, `wgaudit.plan/1`: strict to read, so that what is applied is what was planned.

`python -m auditor.repair.plan.plan_v1` prints its JSON Schema, which stands in docs/plan-v1.schema.json.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic.json_schema import GenerateJsonSchema

from auditor.errors import InvalidValue, PlanError
from auditor.repair.moves import (
    Because,
    CarriedService,
    Contested,
    Keeper,
    Kind,
    LeftOut,
    Move,
    Remaining,
    RepairPlan,
    Routed,
    Rule,
)
from auditor.repair.plan.step_text import Wording
from auditor.values.addresses import Prefix, PublicKey, is_host, network, parse_prefix, parse_public_key
from auditor.values.drains import DrainMeans, DrainPolicy, fault_of
from auditor.values.findings import Severity
from auditor.values.json_bounds import check_json
from auditor.values.models import NodeId
from auditor.values.schema import schema_document
from auditor.values.text import for_detail, for_json

SCHEMA: Literal["wgaudit.plan/1"] = "wgaudit.plan/1"

Text = Annotated[StrictStr, Field(max_length=4096)]
Count = Annotated[StrictInt, Field(ge=0)]
Entry = TypeVar("Entry")
Rows = Annotated[list[Entry], Field(fail_fast=True)]
"""A list that is refused at its first fault: there may be millions."""


class _PlanPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class NodeV1(_PlanPart):
    """A node by name and datacenter."""

    name: Text
    datacenter: Text = Field(description="empty where none is known")


class PeerV1(NodeV1):
    """A node with its registered key."""

    public_key: Text


class KeeperV1(_PlanPart):
    """The node that keeps a contested address, and why."""

    node: NodeV1 | None = Field(description="null: nobody keeps the address")
    public_key: Text | None
    rule: Rule = Field(description="the rule that decided")
    why: Text
    addresses: Rows[Text] = Field(description="all that is registered for it; empty for nobody")


class ServiceV1(_PlanPart):
    """A service of Consul's catalog on a node."""

    name: Text
    instances: Count


class MoveV1(_PlanPart):
    """One node that leaves a contested address."""

    kind: Kind = Field(
        description="renumber: registry and device; restore: the device goes back to its registration"
    )
    node: NodeV1
    public_key: Text
    old: Text = Field(description="canonical prefix of the contested address")
    new: Text = Field(description="canonical prefix of the address that it gets")
    region: Text
    source: Text = Field(description="the prefix that the new address is taken from")
    rule: Rule
    why: Text
    where: Text = Field(description="the registration's key in Consul")
    modify_index: StrictInt | None = Field(
        description="the registration is written only if it still has this one"
    )
    addresses: Rows[Text] = Field(min_length=1, description="all that is registered for it before the move")
    idle: bool | None = Field(description="whether it carries no workload; null: not known")
    sample: Rows[NodeV1] = Field(description="some observers that route the old address to it")
    host: Text = Field(description="where SSH reaches it, by its registration; empty: not said there")
    chosen: bool = Field(default=False, description="whether a person chose the new address (--to)")
    services: Rows[ServiceV1] | None = Field(
        default=None, description="what the node carries by Consul's catalog, most first; null: not known"
    )
    in_words: Rows[Text] = Field(
        description="what is done, checked and how it is taken back; for people only"
    )


class LeftOutV1(_PlanPart):
    """An address or node that the plan does not touch, and why."""

    address: Text
    node: NodeV1 | None = Field(description="null: nobody who claims the address is moved")
    why: Text


class RoutedV1(_PlanPart):
    """Observers that send a contested address to one key, as the sweep saw it."""

    public_key: Text | None = Field(description="null: they send it to nobody")
    node: NodeV1 | None = Field(description="null: no node is registered with the key")
    observers: Count


class ContestedV1(_PlanPart):
    """One contested address: its claimants, the keeper, and the moves."""

    address: Text
    claimants: Rows[NodeV1]
    keeper: KeeperV1
    moves: Rows[MoveV1]
    left_out: Rows[LeftOutV1]
    routed: Rows[RoutedV1] = Field(default=[], description="who is routed where now, most observers first")
    observers: Count | None = Field(
        default=None, description="observers whose route for the address is known; for people only"
    )
    reaching_keeper: Count | None = Field(
        default=None, description="those of them that reach the keeper now; for people only"
    )
    changing: Count | None = Field(
        default=None, description="those that are routed elsewhere once all is done; for people only"
    )
    poorly_reached: bool | None = Field(
        default=None,
        description="whether nobody reaches the keeper now, or fewer observers than reach another; for people only",
    )


class RemainingV1(_PlanPart):
    """A finding that stands after the plan was carried out."""

    check: Text
    severity: Severity
    subject: Text
    fingerprint: Text
    because: Because = Field(
        description="left-out: not all claimants are moved; not-asked: another address was asked for; "
        "keeper-holds-it: somebody keeps a pool's first address; no-move: it is not a matter of moves"
    )
    followers: Count = Field(description="findings that follow from it, and stand with it")


class DrainV1(_PlanPart):
    """How each node is taken out of production before it is moved, and put back once it was verified."""

    means: DrainMeans = Field(description="command: the words below are run on the machine of the apply")
    drain: Rows[Text] = Field(description="words of the command, with {node}, {region}, {address}")
    undrain: Rows[Text] = Field(description="words of the way back")


class PlanV1(_PlanPart):
    """The way from one sweep to a mesh without contested addresses."""

    schema_: Literal["wgaudit.plan/1"] = Field(alias="schema")
    ident: Text = Field(description="over all that the plan changes: an edited plan has another one")
    snapshot_at: AwareDatetime = Field(description="when the sweep ended that it is made from")
    verdict: Literal["clean", "findings", "inconclusive"]
    device: Text
    claims_prefix: Text
    contested: Rows[ContestedV1]
    left_out: Rows[LeftOutV1] = Field(description="addresses that no move can be vouched for")
    notes: Rows[Text] = Field(description="what could not be taken into account")
    peers: Rows[PeerV1] = Field(description="keepers and movers with their registered keys")
    remaining: Rows[RemainingV1] = Field(default=[], description="findings that stand when all is done")
    unseen: Rows[NodeV1] = Field(default=[], description="registered nodes that the sweep did not see")
    drain: DrainV1 | None = Field(default=None, description="null: nobody is taken out of production")


def document(plan: RepairPlan) -> str:
    """Write a plan as JSON text in ASCII; the same text for the same plan."""
    wording = Wording(plan)
    content = {
        "schema": SCHEMA,
        "ident": plan.ident,
        "snapshot_at": plan.snapshot_at.isoformat(),
        "verdict": plan.verdict,
        "device": plan.device,
        "claims_prefix": plan.claims_prefix,
        "contested": [
            {
                "address": item.address,
                "claimants": [_node(node) for node in item.claimants],
                "keeper": {
                    "node": _optional_node(item.keeper.node),
                    "public_key": item.keeper.public_key,
                    "rule": item.keeper.rule.value,
                    "why": for_json(item.keeper.why),
                    "addresses": list(item.keeper.addresses),
                },
                "moves": [
                    {**_move(wording, item, move), "services": _services(plan, move)} for move in item.moves
                ],
                "left_out": [_left_out(left) for left in item.left_out],
                "routed": [
                    {
                        "public_key": routed.public_key,
                        "node": _optional_node(routed.node),
                        "observers": routed.observers,
                    }
                    for routed in item.routed
                ],
                "observers": item.observers,
                "reaching_keeper": item.reaching_keeper,
                "changing": item.changing,
                "poorly_reached": item.poorly_reached,
            }
            for item in plan.contested
        ],
        "left_out": [_left_out(left) for left in plan.left_out],
        "notes": [for_json(note) for note in plan.notes],
        "peers": [{**_node(node), "public_key": key} for node, key in sorted(plan.peers.items())],
        "remaining": [
            {
                "check": left.check,
                "severity": left.severity.value,
                "subject": for_json(left.subject),
                "fingerprint": left.fingerprint,
                "because": left.because.value,
                "followers": left.followers,
            }
            for left in plan.remaining
        ],
        "unseen": [_node(node) for node in plan.unseen],
        "drain": None
        if plan.drain is None
        else {
            "means": plan.drain.means.value,
            "drain": list(plan.drain.drain),
            "undrain": list(plan.drain.undrain),
        },
    }
    return json.dumps(content, indent=1) + "\n"


def from_json(raw: bytes, origin: str) -> RepairPlan:
    """Read what `document` wrote.

    origin: the file's name, for errors.
    Raises `PlanError` with the place of what is not as it must be.
    """
    try:
        check_json(raw)
        content = PlanV1.model_validate_json(raw)
    except InvalidValue as error:
        raise PlanError(
            f"{origin}: not a {SCHEMA} file: {for_detail(str(error))}; make one with `wgaudit plan --output FILE`"
        ) from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = for_detail(".".join(str(part) for part in first["loc"])[:200])
        if place == "schema" or not place:
            raise PlanError(
                f"{origin}: not a {SCHEMA} file; make one with `wgaudit plan --output FILE`"
            ) from None
        raise PlanError(f"{origin}: not a plan: {place}: {first['msg']}") from None
    plan = _Reader(origin).plan(content)
    if plan.ident != content.ident:
        raise PlanError(
            f"{origin}: changed since it was made (it says {content.ident[:10]!r}, its content is {plan.ident!r}); "
            "make a new plan instead of editing one"
        )
    return plan


# -- to JSON


def _node(node: NodeId) -> dict[str, Any]:
    return {"name": for_json(node.name), "datacenter": for_json(node.datacenter)}


def _optional_node(node: NodeId | None) -> dict[str, Any] | None:
    return _node(node) if node is not None else None


def _move(wording: Wording, contested: Contested, move: Move) -> dict[str, Any]:
    return {
        "kind": move.kind.value,
        "node": _node(move.node),
        "public_key": move.public_key,
        "old": move.old,
        "new": move.new,
        "region": for_json(move.region),
        "source": move.source,
        "rule": move.rule.value,
        "why": for_json(move.why),
        "where": for_json(move.where),
        "modify_index": move.modify_index,
        "addresses": list(move.addresses),
        "idle": move.idle,
        "sample": [_node(node) for node in move.sample],
        "host": for_json(move.host),
        "chosen": move.chosen,
        "in_words": [for_json(f"{label}: {text}") for label, text in wording.moves(contested, move)],
    }


def _services(plan: RepairPlan, move: Move) -> list[dict[str, Any]] | None:
    found = plan.carried.get(move.node)
    if found is None:
        return None
    return [{"name": for_json(item.name), "instances": item.instances} for item in found]


def _left_out(left: LeftOut) -> dict[str, Any]:
    return {"address": left.address, "node": _optional_node(left.node), "why": for_json(left.why)}


class _Reader:
    """Converts the form in JSON to a plan; a fault names its place."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def plan(self, content: PlanV1) -> RepairPlan:
        contested = tuple(
            self._contested(f"contested.{number}", item) for number, item in enumerate(content.contested)
        )
        gets = {(move.new, move.node) for item in contested for move in item.moves}
        if len({new for new, _ in gets}) < len(gets):
            raise self.fault("contested", "two nodes get one and the same address")
        return RepairPlan(
            snapshot_at=content.snapshot_at,
            verdict=content.verdict,
            device=content.device,
            contested=contested,
            left_out=self._left_out("left_out", content.left_out),
            notes=tuple(content.notes),
            peers={
                _read_node(item): self._key(f"peers.{number}.public_key", item.public_key)
                for number, item in enumerate(content.peers)
            },
            claims_prefix=content.claims_prefix,
            remaining=tuple(
                Remaining(
                    left.check, left.severity, left.subject, left.fingerprint, left.because, left.followers
                )
                for left in content.remaining
            ),
            unseen=tuple(map(_read_node, content.unseen)),
            drain=None if content.drain is None else self._drain(content.drain),
            carried={
                _read_node(move.node): tuple(
                    CarriedService(each.name, each.instances) for each in move.services
                )
                for item in content.contested
                for move in item.moves
                if move.services is not None
            },
        )

    def _drain(self, item: DrainV1) -> DrainPolicy:
        is_command = item.means is DrainMeans.COMMAND
        if is_command != bool(item.drain) or is_command != bool(item.undrain):
            raise self.fault("drain", "commands have words, for both ways, and nothing else has")
        for name, words in (("drain", item.drain), ("undrain", item.undrain)):
            if fault := fault_of(words):
                raise self.fault(f"drain.{name}", fault)
        return DrainPolicy(item.means, tuple(item.drain), tuple(item.undrain))

    def fault(self, place: str, why: str) -> PlanError:
        return PlanError(f"{self._origin}: not a plan: {place}: {why}")

    def _contested(self, place: str, item: ContestedV1) -> Contested:
        address = self._prefix(f"{place}.address", item.address)
        keeper = self._keeper(f"{place}.keeper", item.keeper)
        moves = tuple(self._move(f"{place}.moves.{number}", move) for number, move in enumerate(item.moves))
        for number, move in enumerate(moves):
            problem = _impossible(address, keeper, move)
            if problem:
                raise self.fault(f"{place}.moves.{number}", problem)
        left_out = self._left_out(f"{place}.left_out", item.left_out)
        routed = tuple(
            Routed(
                self._key(f"{place}.routed.{number}.public_key", entry.public_key)
                if entry.public_key is not None
                else None,
                _read_node(entry.node) if entry.node is not None else None,
                entry.observers,
            )
            for number, entry in enumerate(item.routed)
        )
        return Contested(address, tuple(map(_read_node, item.claimants)), keeper, moves, left_out, routed)

    def _keeper(self, place: str, item: KeeperV1) -> Keeper:
        if (item.node is None) != (item.public_key is None):
            raise self.fault(place, "a keeper has both a name and a key")
        return Keeper(
            _read_node(item.node) if item.node is not None else None,
            self._key(f"{place}.public_key", item.public_key) if item.public_key is not None else None,
            item.rule,
            item.why,
            tuple(self._prefix(f"{place}.addresses", text) for text in item.addresses),
        )

    def _move(self, place: str, item: MoveV1) -> Move:
        return Move(
            kind=item.kind,
            node=_read_node(item.node),
            public_key=self._key(f"{place}.public_key", item.public_key),
            old=self._prefix(f"{place}.old", item.old),
            new=self._prefix(f"{place}.new", item.new),
            region=item.region,
            source=self._prefix(f"{place}.source", item.source),
            rule=item.rule,
            why=item.why,
            where=item.where,
            modify_index=item.modify_index,
            addresses=tuple(self._prefix(f"{place}.addresses", text) for text in item.addresses),
            idle=item.idle,
            sample=tuple(map(_read_node, item.sample)),
            host=item.host,
            chosen=item.chosen,
        )

    def _left_out(self, place: str, items: list[LeftOutV1]) -> tuple[LeftOut, ...]:
        return tuple(
            LeftOut(
                self._prefix(f"{place}.{number}.address", item.address),
                _read_node(item.node) if item.node is not None else None,
                item.why,
            )
            for number, item in enumerate(items)
        )

    def _prefix(self, place: str, text: str) -> Prefix:
        try:
            return parse_prefix(text)
        except InvalidValue as error:
            raise self.fault(place, str(error)) from None

    def _key(self, place: str, text: str) -> PublicKey:
        try:
            return parse_public_key(text)
        except InvalidValue as error:
            raise self.fault(place, str(error)) from None


def _read_node(item: NodeV1) -> NodeId:
    return NodeId(item.datacenter, item.name)


def _impossible(address: Prefix, keeper: Keeper, move: Move) -> str:
    """Return why no plan of ours has such a move, whatever its ident; "" where all is well."""
    if move.old != address or move.new == address:
        return "it must go from the contested address to another one"
    if not is_host(move.old) or not is_host(move.new):
        return "it must go from one single address to another"
    if network(move.old).version != network(move.new).version:
        return "its new address is of another family than the old one"
    if move.node == keeper.node:
        return "it moves the node that keeps the address"
    held = move.old if move.kind is Kind.RENUMBER else move.new
    return "" if held in move.addresses else f"what is registered for it does not hold {held}"


def schema_text() -> str:
    """Return the JSON Schema of a plan, as docs/plan-v1.schema.json holds it."""
    return schema_document(PlanV1, SCHEMA, generator=GenerateJsonSchema)


if __name__ == "__main__":
    sys.stdout.write(schema_text())
