"""Part of alerting's memory that helps to judge a look, read without the library that writes it.

A plain sweep needs this much of the state and no more, and is not to pay for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from alerts.memory.forms import SILENCE, STANDING, read_node, read_place
from alerts.models import Silence, Standing
from auditor.errors import InvalidValue
from auditor.values.addresses import PublicKey, parse_public_key
from auditor.values.models import Memory, NodeId
from auditor.values.stored_values import TableReader, unreadable


def read_memory(state: TableReader) -> Memory:
    """Read which nodes had drifted, and which were unsettled. Raises `StateError`."""
    return Memory(
        drifted=read_drifted(state),
        unsettled=frozenset(read_node(row["place"]) for row in state.rows_of("alerts_unsettled")),
    )


def read_drifted(state: TableReader) -> Mapping[NodeId, PublicKey]:
    """Read the nodes whose devices have another key than the registry, each with that key. Raises `StateError`."""
    try:
        return {
            read_node(row["place"]): parse_public_key(row["public_key"])
            for row in state.rows_of("alerts_drifted")
        }
    except InvalidValue as error:
        raise unreadable(error) from None


def read_standing_incidents(state: TableReader) -> Mapping[str, Standing]:
    """Read what stands, by fingerprint. Raises `StateError`."""
    return {row["fingerprint"]: STANDING.read(row["body"]) for row in state.rows_of("alerts_standing")}


def read_seen(state: TableReader) -> Mapping[tuple[str, ...], int]:
    """Read in which sweep each datacenter (one part) and each node of one (two parts) was seen last.

    Raises `StateError`.
    """
    return {read_place(row["place"]): row["sweep"] for row in state.rows_of("alerts_seen")}


def read_silences(state: TableReader) -> list[Silence]:
    """Read all silences, ended ones too; the first to end first. Raises `StateError`."""
    return [SILENCE.read(row["body"]) for row in state.rows_of("alerts_silences", order=("ends_at", "ident"))]
