"""Ties of answers to nodes: by what a node's server calls itself, or by the host key that known_hosts has for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from auditor.errors import ProbeError
from auditor.nodes.known_hosts import KeyText, KnownLines, lookup_names
from auditor.nodes.underlay import filled, target_for
from auditor.settings.ssh import SshSettings
from auditor.values.models import NodeId, Registration

NAME_PLACE = "witnesses.name"
"""Place of the template in the configuration, for messages."""


class Names:
    """Names that the nodes' servers call themselves, by a template over the registration."""

    def __init__(self, template: str, registered: Iterable[Registration]) -> None:
        self._nodes: dict[str, list[NodeId]] = defaultdict(list)
        for registration in registered:
            try:
                name = filled(template, registration, NAME_PLACE)
            except ProbeError:
                # It lacks a value that the template needs: nobody's answer can be tied to it.
                continue
            self._nodes[name.casefold()].append(registration.node)

    def nodes(self, said: str) -> Sequence[NodeId]:
        """Find the nodes whose server calls itself so."""
        return self._nodes.get(said.casefold(), ())


class HostKeys:
    """Host keys that known_hosts has for the hosts at which nodes are reached."""

    def __init__(self, lines: KnownLines, ssh: SshSettings, registered: Iterable[Registration]) -> None:
        self._lines = lines
        self._hosts: list[tuple[NodeId, tuple[str, ...]]] = []
        self._plain: dict[bytes, list[NodeId]] = defaultdict(list)
        for registration in registered:
            try:
                target = target_for(registration, ssh, ())
            except ProbeError:
                continue  # nobody knows its host, so no line is known to be about it
            names = lookup_names(target.host, target.port or ssh.port)
            self._hosts.append((registration.node, names))
            for key in lines.plain(names).keys:
                self._plain[key.blob].append(registration.node)

    def nodes(self, key: KeyText) -> Sequence[NodeId]:
        """Find the nodes that this key is known for."""
        holds = self._lines.hashed.holds
        hashed = (node for node, names in self._hosts if any(holds(key.blob, name) for name in names))
        return tuple(dict.fromkeys((*self._plain.get(key.blob, ()), *hashed)))


def tied(nodes: Sequence[NodeId], holders: Iterable[NodeId]) -> NodeId | None:
    """Choose the node of an answer. None: it is tied to none, or to several of which none is registered there.

    A name or a key that several nodes have, such as that of a cloned image, speaks for the registered one: it does not
    show that somebody else is there.
    """
    if len(nodes) == 1:
        return nodes[0]
    registered = set(holders)
    return next((node for node in sorted(nodes) if node in registered), None)
