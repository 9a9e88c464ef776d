"""Proposals for the shell: nodes, addresses, regions and checks of the last recording, as a word is being typed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from auditor.state.known_names import KnownNames

log = logging.getLogger(__name__)


def targets(context: click.Context, option: click.Parameter, begun: str) -> list[str]:  # noqa: ARG001  (click's signature)
    """Propose what `explain` takes: nodes, addresses, and what the documents explain: checks, reasons of gaps …"""
    from auditor.documents.sections import known_idents

    names = kept()
    return _beginning(begun, (*names.nodes, *names.addresses, *sorted(known_idents())))


def affected_targets(context: click.Context, option: click.Parameter, begun: str) -> list[str]:  # noqa: ARG001  (click's signature)
    """Propose what `affected` takes: nodes, addresses, regions and checks."""
    names = kept()
    return _beginning(begun, (*names.nodes, *names.addresses, *names.regions, *_checks()))


def nodes(context: click.Context, option: click.Parameter, begun: str) -> list[str]:  # noqa: ARG001  (click's signature)
    """Propose nodes."""
    return _beginning(begun, kept().nodes)


def node_targets(context: click.Context, option: click.Parameter, begun: str) -> list[str]:  # noqa: ARG001  (click's signature)
    """Propose what `history node` takes: nodes and addresses."""
    names = kept()
    return _beginning(begun, (*names.nodes, *names.addresses))


def origins(context: click.Context, option: click.Parameter, begun: str) -> list[str]:  # noqa: ARG001  (click's signature)
    """Propose what `ask --from` takes: nodes and regions."""
    names = kept()
    return _beginning(begun, (*names.nodes, *names.regions))


def addresses(context: click.Context, option: click.Parameter, begun: str) -> list[str]:  # noqa: ARG001  (click's signature)
    """Propose addresses."""
    return _beginning(begun, kept().addresses)


def regions(context: click.Context, option: click.Parameter, begun: str) -> list[str]:  # noqa: ARG001  (click's signature)
    """Propose regions."""
    return _beginning(begun, kept().regions)


def checks(context: click.Context, option: click.Parameter, begun: str) -> list[str]:  # noqa: ARG001  (click's signature)
    """Propose idents of checks."""
    return _beginning(begun, _checks())


def sweeps(context: click.Context, option: click.Parameter, begun: str) -> list[CompletionItem]:  # noqa: ARG001  (click's signature)
    """Propose what `diff` compares: sweeps of the history, by the words for them, and recordings."""
    from click.shell_completion import CompletionItem

    named = _beginning(begun, ("last", "last-1")) if begun else []
    return [CompletionItem(name) for name in named] or [CompletionItem(begun, type="file")]


def kept() -> KnownNames:
    """Read the names of the last recording; none where they cannot be read."""
    from auditor.state.known_names import KnownNames, kept_names

    try:
        return kept_names()
    except (OSError, ValueError) as error:
        # A line on the screen would stand in the middle of what is being typed.
        log.debug("no names to propose: %s", error)
        return KnownNames()


def _checks() -> Iterable[str]:
    from auditor.checks.idents import Ident

    return sorted(Ident)


def _beginning(begun: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(begun)]
