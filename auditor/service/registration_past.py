"""Past registrations of a node, an address or a key, from the state's journal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from auditor.errors import InvalidValue, StateError, UsageError
from auditor.service.alert_state import existing_state, state_place
from auditor.settings.file import Config
from auditor.state.known_registrations import (
    read_journal_begin,
    read_known_registrations,
    read_registration_changes,
)
from auditor.state.state_store import StateStore
from auditor.values.addresses import parse_prefix
from auditor.values.guide import INSTALLED, Guide
from auditor.values.models import Registration
from auditor.values.registration_changes import RegistrationChange, RegistrationHistory
from auditor.values.text import for_log

SHORTEST_KEY = 6
"""Characters of a key that must at least be given."""


def read_registration_history(
    config: Config, target: str, guide: Guide = INSTALLED
) -> RegistrationHistory | None:
    """Read what is remembered of a node (`name` or `name@datacenter`), an address, or a key or its beginning.

    Returns: None where there is no state. Raises `UsageError` where nothing is remembered of the target, and
    `StateError`.
    """
    with existing_state(state_place(config)) as state:
        return None if state is None else _history(state.store, target, guide)


def past_changes(
    config: Config, targets: Collection[str], complain: Callable[[str], None]
) -> Mapping[str, tuple[RegistrationChange, ...]]:
    """Read the changes of registrations that had each target, oldest first; none where nothing is remembered.

    A state that cannot be read is a complaint.
    """
    try:
        with existing_state(state_place(config)) as state:
            if state is None:
                return {}
            changes = tuple(read_registration_changes(state.store))
    except StateError as error:
        complain(f"{error}; what registrations were before is not told")
        return {}
    return {target: tuple(filter(_change_selector(_selector(target)), changes)) for target in targets}


def _history(store: StateStore, target: str, guide: Guide) -> RegistrationHistory:
    began_at = read_journal_begin(store)
    if began_at is None:
        raise UsageError(
            "history node: no sweep has taken registrations down yet; the next "
            f"{guide.mention('sweep', '--alert')} begins"
        )
    has = _selector(target)
    changes = tuple(filter(_change_selector(has), read_registration_changes(store)))
    nodes = {item.node for item in changes}
    known = tuple(
        item
        for item in read_known_registrations(store)
        if item.registration.node in nodes or has(item.registration)
    )
    if not known and not changes:
        raise UsageError(
            f"history node: no registration of {for_log(target, most=80)!r} is remembered since "
            f"{began_at:%Y-%m-%d %H:%M} UTC: no node, address or key of that name"
        )
    return RegistrationHistory(target, known, changes, began_at)


def _selector(target: str) -> Callable[[Registration], bool]:
    try:
        prefix = parse_prefix(target)
    except InvalidValue:
        # No address; then it is a node's name, or a key.
        key = target.removesuffix("…").removesuffix("...")

        def has(item: Registration) -> bool:
            return target in (item.node.name, str(item.node)) or (
                len(key) >= SHORTEST_KEY and (item.public_key or "").startswith(key)
            )

        return has
    return lambda item: prefix in item.addresses


def _change_selector(has: Callable[[Registration], bool]) -> Callable[[RegistrationChange], bool]:
    return lambda change: any(has(item) for item in (change.before, change.after) if item is not None)
