"""PURE: a plan as a commented POSIX shell script, for people who run each step by hand.

Nothing out of the registry can break out of it: every value is quoted, and what is sent to a node's shell is
only what has the form of a device, an address, a length or a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources

from auditor.errors import UsageError
from auditor.repair.claims.claim import claim_bytes, claim_key
from auditor.repair.moves import Contested, Kind, Move, RepairPlan
from auditor.repair.plan.step_text import BOOT_FOLDERS, WG_QUICK, Wording, shell_words
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import format_prefix, network, parse_prefix, parse_public_key
from auditor.values.drains import DrainMeans
from auditor.values.names import DEVICE_NAME
from auditor.values.text import for_log, for_shell

_DEVICE = re.compile(DEVICE_NAME)
_PREFIX = re.compile(r"[A-Za-z0-9._\-/]{1,512}")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._:\-]{0,251}[A-Za-z0-9_.])?")
_WITH_PORT = re.compile(r"(\[[0-9A-Fa-f:]+\]|[^:\[\]]+):([0-9]{1,5})")
_COMMENT_WIDTH = 100
_NOMAD_WORDS = ("ineligible", "eligible again")


def script(plan: RepairPlan) -> str:
    """Write the plan as a script of a POSIX shell; the same text for the same plan. Raises `UsageError`.

    It stops for a word before each step, and does nothing that the plan's own steps do not.
    """
    if _DEVICE.fullmatch(plan.device) is None:
        raise UsageError("--format shell: the device's name is none that can be written into a script")
    if _PREFIX.fullmatch(plan.claims_prefix) is None:
        raise UsageError("--format shell: repair.claims_prefix is none that can be written into a script")
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: RepairPlan) -> Iterator[str]:
    wording = Wording(plan)
    yield "#!/bin/sh"
    yield f"# wgaudit plan {plan.ident}, from a sweep that ended {plan.snapshot_at.isoformat()}."
    for note in plan.notes:
        yield from _comment(f"Note: {note}")
    for contested in plan.contested:
        name = wording.name(contested.keeper.node)
        yield from _comment(
            f"{format_prefix(contested.address)}: kept by {name} "
            f"({contested.keeper.rule.value}: {contested.keeper.why})"
        )
    for left in [*plan.left_out, *(left for item in plan.contested for left in item.left_out)]:
        who = wording.name(left.node) if left.node is not None else "the whole address"
        yield from _comment(f"Left out: {format_prefix(left.address)}, {who}: {left.why}")
    yield _fixed_part()
    yield f"device={for_shell(plan.device)}"
    yield f"file={for_shell(WG_QUICK.format(device=plan.device))}"
    yield f"folders={for_shell(' '.join(BOOT_FOLDERS))}"
    contested_of = {move.ident: contested for contested in plan.contested for move in contested.moves}
    for number, move in enumerate(plan.moves, start=1):
        yield from _move(plan, wording, contested_of[move.ident], move, number)
    if not plan.moves:
        yield "echo 'nothing to do'"
    else:
        yield "printf '\\nDone. Now: wgaudit sweep; and wgaudit adopt --check where claims are used.\\n'"


@lru_cache(maxsize=1)
def _fixed_part() -> str:
    return resources.files(__package__).joinpath("by_hand.sh").read_text(encoding="utf-8")


def _move(plan: RepairPlan, wording: Wording, contested: Contested, move: Move, number: int) -> Iterator[str]:
    _check(contested, move)
    keeper_key = contested.keeper.public_key or ""
    yield f"# {number} of {len(plan.moves)} " + "-" * 60
    yield from _comment(f"{wording.name(move.node)}: {move.why}")
    for label, text in wording.moves(contested, move):
        yield from _comment(f"{label}: {text}")
    old, new = format_prefix(move.old), format_prefix(move.new)
    claim = AddressClaim(
        move.new,
        ClaimState.HELD,
        move.node.name,
        move.public_key,
        plan.snapshot_at,
        None,
        f"plan {plan.ident}",
    )
    values = {
        "kind": move.kind.value,
        "node": for_log(wording.name(move.node)),
        "key": move.public_key,
        "old": old,
        "new": new,
        "bits": str(network(move.old).max_prefixlen),
        "old_pattern": re.sub(r"([.\[\]*^$\\#])", r"\\\1", old),
        "where": move.where,
        "planned_index": str(move.modify_index) if move.modify_index is not None else "",
        "claim_key": claim_key(plan.claims_prefix, move.new),
        "claim": claim_bytes(claim).decode() if move.kind is Kind.RENUMBER else "",
        "allowed": ",".join(move.addresses_after),
        "keeper_key": keeper_key,
        "keeper_allowed": ",".join(contested.keeper.addresses or (contested.address,)),
    }
    values |= _drain_lines(plan, wording, move)
    host = _destination(move)
    if host:
        yield f"host={for_shell(host)}"
    else:
        yield "host=''   # fill in: how ssh reaches it over the underlay"
        yield f"[ -n \"$host\" ] || {{ echo 'fill in host= of move {number}' >&2; exit 1; }}"
    datacenter = move.node.datacenter
    yield f"dc={for_shell(f'-datacenter={datacenter}' if datacenter else '')}"
    yield f"dc_query={for_shell(f'&dc={datacenter}' if datacenter else '')}"
    for name, value in values.items():
        yield f"{name}={for_shell(value)}"
    yield "move"
    yield ""


def _drain_lines(plan: RepairPlan, wording: Wording, move: Move) -> dict[str, str]:
    """Return what the script asks for before the move and after it, and the command lines; "" where there is none."""
    drain, node = plan.drain, for_log(wording.name(move.node))
    if drain is None:
        return {"drain_text": "", "drain": "", "undrain_text": "", "undrain": ""}
    match drain.means:
        case DrainMeans.COMMAND:
            out, back = (shell_words(drain, move, back=way) for way in (False, True))
            # `command`: a function of the script may have the program's name.
            lines = [f"command {line}" for line in (out, back)]
            return {"drain_text": out, "drain": lines[0], "undrain_text": back, "undrain": lines[1]}
        case DrainMeans.CONSUL_MAINTENANCE:
            texts = (f"consul maint -enable -reason=wgaudit-plan-{plan.ident}", "consul maint -disable")
            lines = [f'on_node "$host" "$AS_ROOT {text}"' for text in texts]
            return {"drain_text": texts[0], "drain": lines[0], "undrain_text": texts[1], "undrain": lines[1]}
        case DrainMeans.NOMAD_ELIGIBILITY:
            out, back = (
                f"make {node} {word} in Nomad, by hand, now, and say y then" for word in _NOMAD_WORDS
            )
            return {"drain_text": out, "drain": ":", "undrain_text": back, "undrain": ":"}


def _check(contested: Contested, move: Move) -> None:
    """Check every value again: canonical by type already, but here text becomes commands. Raises `UsageError`."""
    for prefix in (move.old, move.new, *move.addresses_after, *contested.keeper.addresses, contested.address):
        parse_prefix(prefix)
    for key in (move.public_key, contested.keeper.public_key):
        if key is not None:
            parse_public_key(key)
    if not move.where.isprintable() or move.where.startswith("-") or not move.where:
        raise UsageError(
            f"--format shell: the registration's key of {move.node} cannot be a command's argument"
        )
    if move.node.datacenter and _HOST.fullmatch(move.node.datacenter) is None:
        raise UsageError("--format shell: a datacenter's name is none that can be written into a script")


def _destination(move: Move) -> str:
    """Return the destination for ssh; "" where nothing usable is known, or it leads through the mesh itself."""
    host, port = move.host or move.node.name, ""
    match = _WITH_PORT.fullmatch(host)
    if match is not None:
        host, port = match[1], match[2]
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    # Over the mesh, its own address may lead to its double.
    if _HOST.fullmatch(bare) is None or bare in {format_prefix(prefix) for prefix in move.addresses}:
        return ""
    return f"ssh://{host}:{port}" if port else bare


def _comment(text: str) -> Iterator[str]:
    """Yield comment lines that no character of the text can end."""
    line = "#"
    for word in for_log(text).split(" "):
        if len(line) + 1 + len(word) > _COMMENT_WIDTH and line != "#":
            yield line
            line = "#   "
        line = f"{line} {word}"
    yield line
