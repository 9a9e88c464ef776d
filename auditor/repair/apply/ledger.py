"""The registry's side of a move: reserve, register and their ways back, each by compare-and-set."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta

from auditor.errors import InvalidValue, LedgerSurprise, StoreConflict, StoreError, WgauditError
from auditor.registry.interface import Create, KeyStore, Operation, Remove, Replace, Require, Stored
from auditor.registry.records import parse_json_record
from auditor.repair.apply.stages import INDEX
from auditor.repair.claims.claim import claim_bytes, claim_key, read_claim
from auditor.repair.claims.record import replace_address
from auditor.repair.claims.registration import AllocatorPolicy
from auditor.repair.moves import Keeper, Kind, Move, Step
from auditor.values.address_claims import AddressClaim, ClaimState
from auditor.values.addresses import Prefix, covers, format_prefix, network
from auditor.values.models import Registration

PAUSE = 0.2


def out_of_place(move: Move, policy: AllocatorPolicy) -> str:
    """Say why a move leaves what is configured; "" where it does not. Its file may have been made by anybody."""
    if not move.where.startswith(policy.registry_prefix) or len(move.where) == len(policy.registry_prefix):
        return f"{move.node}: {move.where} does not lie under consul.prefix {policy.registry_prefix}"
    if move.kind is Kind.RENUMBER and (place := policy.address_plan.misplacement(move.new)) is not None:
        return f"{move.node}: {format_prefix(move.new)} is no address to give ({place.fault.value} of mesh.pools)"
    return ""


class Ledger:
    """Change registrations and claims for the moves of one plan. Every call may be repeated.

    A move's `addresses` and `modify_index` are those that its registration must have now.
    """

    def __init__(
        self,
        stores: Mapping[str, KeyStore],
        policy: AllocatorPolicy,
        plan: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`stores`: by datacenter, as in `NodeId`. `plan`: its ident, which the claims name."""
        self._stores = stores
        self._policy = policy
        self._by = f"apply {plan}"
        self._now = now
        self._clock = clock
        self._pause = pause

    def check(self, move: Move) -> None:
        """Check that the registration is still the plan's, and that no key in the store has the new address.

        Raises `LedgerSurprise` and `StoreError`; nothing is written.
        """
        self.check_place(move)
        self._unchanged(move, self._registered(move))
        if move.kind is Kind.RESTORE:
            return  # the new address is its own, by registry and claim
        self._claimable(move, self._claim(move, move.new))
        new = network(move.new)
        for stored in self._store(move).list(self._policy.registry_prefix):
            if stored.key == move.where:
                continue
            read = self._parsed(move, stored)
            if read is None:
                # Whatever it says, it is not known to be another address.
                taken = format_prefix(move.new).encode() in stored.value
            else:
                taken = any(covers(network(prefix), new) for prefix in read.addresses)
            if taken:
                raise LedgerSurprise(
                    f"{format_prefix(move.new)} is registered meanwhile: {stored.key}; make a new plan"
                )

    def check_place(self, move: Move) -> None:
        """Check that a move stays within what is configured, whatever a file says. Raises `LedgerSurprise`."""
        if fault := out_of_place(move, self._policy):
            raise LedgerSurprise(fault)

    def check_begun(self, move: Move, done: Collection[Step]) -> None:
        """Check what a journal says to be done against what the store shows. Raises as `check` does; writes nothing."""
        self.check_place(move)
        addresses = self._registration(move, self._registered(move)).addresses
        if addresses not in (move.addresses, move.addresses_after):
            raise LedgerSurprise(f"{move.where} has other addresses by now than before or after the move")
        if Step.RESERVE not in done:
            return
        stored = self._claim(move, move.new)
        if stored is None or not self._ours(move, stored):
            raise LedgerSurprise(
                f"the journal says that {format_prefix(move.new)} was claimed for it, and the registry does not: "
                f"{self._says(stored)}"
            )

    def reserve(self, move: Move) -> Mapping[str, str]:
        """Claim the new address for the node, if its registration is still the plan's."""

        def attempt() -> Mapping[str, str] | None:
            stored = self._claim(move, move.new)
            if stored is not None and self._ours(move, stored):
                return {}
            held = self._registered(move)
            self._unchanged(move, held)
            self._claimable(move, stored)
            claim = claim_bytes(self._claimed(move, ClaimState.RESERVED))
            key = claim_key(self._policy.claims_prefix, move.new)
            self._store(move).commit(
                [
                    Require(held.key, held.modify_index),
                    Create(key, claim) if stored is None else Replace(key, claim, stored.modify_index),
                ]
            )
            return None

        return self._settle(attempt)

    def register(self, move: Move, keeper: Keeper) -> Mapping[str, str]:
        """Write the new address into the registration, hold its claim, and pass the old one's claim to the keeper."""

        def attempt() -> Mapping[str, str] | None:
            held = self._registered(move)
            stored = self._claim(move, move.new)
            if stored is None or not self._ours(move, stored):
                raise LedgerSurprise(f"{format_prefix(move.new)} is no longer reserved: {self._says(stored)}")
            if self._registration(move, held).addresses == move.addresses_after:
                return {INDEX: str(held.modify_index)}
            if held.modify_index != stored.modify_index:
                self._unchanged(move, held)
            # Else both were last written in one transaction of ours: this move was on its way back.
            self._store(move).commit(
                [
                    Replace(held.key, self._rewritten(move, held, back=False), held.modify_index),
                    Replace(
                        stored.key,
                        claim_bytes(self._claimed(move, ClaimState.HELD)),
                        stored.modify_index,
                    ),
                    *self._hand_over(move, keeper),
                ]
            )
            return None

        return self._settle(attempt)

    def verify(self, move: Move) -> None:
        """Check that registration and claim have the new address. Raises `LedgerSurprise`."""
        held = self._registered(move)
        if self._registration(move, held).addresses != move.addresses_after:
            raise LedgerSurprise(f"{held.key} does not say {format_prefix(move.new)} any more")
        if move.kind is Kind.RESTORE:
            return
        stored = self._claim(move, move.new)
        claim = self._read(stored) if stored is not None else None
        if claim is None or claim.state is not ClaimState.HELD or not self._names(move, claim):
            raise LedgerSurprise(f"{format_prefix(move.new)} is not held by its claim: {self._says(stored)}")

    def unregister(self, move: Move) -> Mapping[str, str]:
        """Write the old address into the registration again; reserve the new one until the device has dropped it."""

        def attempt() -> Mapping[str, str] | None:
            held = self._registered(move)
            addresses = self._registration(move, held).addresses
            if addresses == move.addresses:
                return {INDEX: str(held.modify_index)}
            if addresses != move.addresses_after:
                raise LedgerSurprise(f"{held.key} has other addresses by now; nothing was written over them")
            operations: list[Operation] = [
                Replace(held.key, self._rewritten(move, held, back=True), held.modify_index)
            ]
            stored = self._claim(move, move.new)
            if stored is not None and self._ours(move, stored):
                reserved = claim_bytes(self._claimed(move, ClaimState.RESERVED))
                operations.append(Replace(stored.key, reserved, stored.modify_index))
            operations += self._hand_back(move)
            self._store(move).commit(operations)
            return None

        return self._settle(attempt)

    def unreserve(self, move: Move) -> Mapping[str, str]:
        """Remove this plan's claim on the new address, unless the registration has that address."""

        def attempt() -> Mapping[str, str] | None:
            stored = self._claim(move, move.new)
            if stored is None or not self._ours(move, stored):
                return {}
            held = self._store(move).read(move.where)
            operations: list[Operation] = [Remove(stored.key, stored.modify_index)]
            if held is not None:
                read = self._parsed(move, held)
                if read is None or move.new in read.addresses:
                    # A write that was in doubt came through after all; the claim must not go before it.
                    raise LedgerSurprise(
                        f"{held.key} says {format_prefix(move.new)}, so its claim stays; roll back again"
                    )
                operations.append(Require(held.key, held.modify_index))
            self._store(move).commit(operations)
            return None

        return self._settle(attempt)

    # -- certainty

    def _settle(self, attempt: Callable[[], Mapping[str, str] | None]) -> Mapping[str, str]:
        """Repeat an attempt until a read shows it done; a failed write or one in doubt is settled by reading."""
        deadline = self._clock() + self._policy.timeout
        while True:
            try:
                facts = attempt()
                if facts is not None:
                    return facts
                continue  # written: the next turn reads it
            except StoreConflict as error:
                doubt: WgauditError = error
            except StoreError as error:
                if error.permanent:
                    raise
                doubt = error
            if self._clock() + PAUSE > deadline:
                raise StoreError(f"not confirmed by the store within {self._policy.timeout:g} s: {doubt}")
            self._pause(PAUSE)

    # -- registrations

    def _store(self, move: Move) -> KeyStore:
        return self._stores[move.node.datacenter]

    def _registered(self, move: Move) -> Stored:
        held = self._store(move).read(move.where)
        if held is None:
            raise LedgerSurprise(f"{move.where} is gone; make a new plan")
        return held

    def _unchanged(self, move: Move, held: Stored) -> None:
        """Check that the registration was not written since the plan. Raises `LedgerSurprise`."""
        if held.modify_index != move.modify_index:
            raise LedgerSurprise(
                f"{held.key} was written meanwhile (ModifyIndex {held.modify_index}, expected "
                f"{move.modify_index}); make a new plan"
            )
        if self._registration(move, held).addresses != move.addresses:
            raise LedgerSurprise(f"{held.key} has other addresses than the plan; make a new plan")

    def _registration(self, move: Move, held: Stored) -> Registration:
        read = self._parsed(move, held)
        if read is None:
            raise LedgerSurprise(f"{held.key} cannot be read any more; make a new plan")
        if read.public_key != move.public_key:
            raise LedgerSurprise(f"{held.key} has another key by now; make a new plan")
        if read.retired:
            raise LedgerSurprise(f"{held.key} is retired by now (state {read.state}); make a new plan")
        return read

    def _parsed(self, move: Move, held: Stored) -> Registration | None:
        return parse_json_record(
            move.node, held.key, held.value, self._policy.fields, rules=self._policy.rules
        ).whole

    def _rewritten(self, move: Move, held: Stored, *, back: bool) -> bytes:
        """The record with one address in the place of the other, checked with the reader that all others use."""
        old, new = (move.new, move.old) if back else (move.old, move.new)
        wanted = move.addresses if back else move.addresses_after
        try:
            record = replace_address(held.value, self._policy.fields.address, old, new)
        except InvalidValue as error:
            raise LedgerSurprise(f"{held.key}: {error}") from None
        if self._registration(move, held._replace(value=record)).addresses != wanted:
            raise LedgerSurprise(
                f"{held.key}: {format_prefix(old)} cannot be replaced in it alone; do it by hand"
            )
        return record

    # -- claims

    def _hand_over(self, move: Move, keeper: Keeper) -> list[Operation]:
        """Operations that pass the mover's claim on the old address to the keeper, or quarantine it."""
        stored = self._claim(move, move.old)
        claim = self._read(stored) if stored is not None else None
        if stored is None or claim is None or not self._names(move, claim):
            return []
        now, by = self._now(), self._handed(move)
        if keeper.node is None:
            until = now + timedelta(days=self._policy.quarantine_days)
            heir = AddressClaim(
                move.old, ClaimState.RELEASED, move.node.name, move.public_key, now, until, by
            )
        else:
            # A keeper of another datacenter is not registered in this store; seen is what keeps the address.
            here = keeper.node.datacenter == move.node.datacenter
            state = ClaimState.HELD if here else ClaimState.SEEN
            heir = AddressClaim(move.old, state, keeper.node.name, keeper.public_key, now, None, by)
        return [Replace(stored.key, claim_bytes(heir), stored.modify_index)]

    def _hand_back(self, move: Move) -> list[Operation]:
        """Operations that give the claim on the old address back, if this move passed it on."""
        stored = self._claim(move, move.old)
        claim = self._read(stored) if stored is not None else None
        if stored is None or claim is None or claim.by != self._handed(move):
            return []
        again = AddressClaim(
            move.old, ClaimState.HELD, move.node.name, move.public_key, self._now(), None, self._by
        )
        return [Replace(stored.key, claim_bytes(again), stored.modify_index)]

    def _handed(self, move: Move) -> str:
        return f"{self._by} from {move.node.name}"

    def _claim(self, move: Move, prefix: Prefix) -> Stored | None:
        return self._store(move).read(claim_key(self._policy.claims_prefix, prefix))

    def _claimed(self, move: Move, state: ClaimState) -> AddressClaim:
        return AddressClaim(move.new, state, move.node.name, move.public_key, self._now(), None, self._by)

    def _claimable(self, move: Move, stored: Stored | None) -> None:
        if stored is not None and not self._ours(move, stored) and not self._over(stored):
            raise LedgerSurprise(
                f"{format_prefix(move.new)} is claimed meanwhile: {self._says(stored)}; make a new plan"
            )

    def _read(self, stored: Stored) -> AddressClaim | None:
        try:
            return read_claim(self._policy.claims_prefix, stored.key, stored.value)
        except InvalidValue:
            return None

    def _names(self, move: Move, claim: AddressClaim) -> bool:
        return (claim.node, claim.public_key) == (move.node.name, move.public_key)

    def _ours(self, move: Move, stored: Stored) -> bool:
        claim = self._read(stored)
        return claim is not None and claim.by == self._by and self._names(move, claim)

    def _over(self, stored: Stored) -> bool:
        claim = self._read(stored)
        return claim is not None and claim.is_over(self._now())

    def _says(self, stored: Stored | None) -> str:
        if stored is None:
            return "it has no claim"
        claim = self._read(stored)
        if claim is None:
            return f"{stored.key} holds something that is no claim"
        return f"{claim.state.value} for {claim.node or 'nobody'} by {claim.by or 'an unknown hand'}"
