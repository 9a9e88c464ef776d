"""Part of alerting's memory that helps to judge a look, read without the library that writes it.

A plain sweep needs this much of the state and no more, and is not to pay for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from alerts.memory.forms import read_place, read_silence, read_standing
from alerts.memory.state_access import RowReader
from alerts.models import Silence, Standing
from auditor.errors import InvalidValue, StateError
from auditor.values.addresses import PublicKey, parse_public_key
from auditor.values.models import Memory, NodeId


def read_memory(state: RowReader) -> Memory:
    """Read which nodes had drifted, and which were unsettled. Raises `StateError`."""
    return Memory(
        drifted=read_drifted(state),
        unsettled=frozenset(NodeId(*read_place(row["place"])) for row in state.rows_of("alerts_unsettled")),
    )


def read_drifted(state: RowReader) -> Mapping[NodeId, PublicKey]:
    """Read the nodes whose devices have another key than the registry, each with that key. Raises `StateError`."""
    try:
        return {
            NodeId(*read_place(row["place"])): parse_public_key(row["public_key"])
            for row in state.rows_of("alerts_drifted")
        }
    except InvalidValue:
        raise StateError("the state database holds a record that cannot be read (public key)") from None


def read_standing_incidents(state: RowReader) -> Mapping[str, Standing]:
    """Read what stands, by fingerprint. Raises `StateError`."""
    return {row["fingerprint"]: read_standing(row["body"]) for row in state.rows_of("alerts_standing")}


def read_seen(state: RowReader) -> Mapping[tuple[str, ...], int]:
    """Read in which sweep each datacenter (one part) and each node of one (two parts) was seen last.

    Raises `StateError`.
    """
    return {read_place(row["place"]): row["sweep"] for row in state.rows_of("alerts_seen")}


def read_silences(state: RowReader) -> list[Silence]:
    """Read all silences, ended ones too; the first to end first. Raises `StateError`."""
    return [read_silence(row["body"]) for row in state.rows_of("alerts_silences", order=("ends_at", "ident"))]
