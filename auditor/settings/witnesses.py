"""Settings of active witnesses: whom to ask at a mesh address, from how many nodes, and how an answer names a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, Strict, StrictInt

from auditor.settings.base import Contradiction, Settings, UserPath
from auditor.values.witness_answers import AnswerSource

_PORTS = {AnswerSource.NATS: 4222, AnswerSource.SSH_HOST_KEY: 22}
_OF_ONE = {
    "name": "nats",
    "monitoring_port": "nats",
    "region_tag": "nats",
    "known_hosts": "ssh-host-key",
}
"""Keys that one type alone has."""


class WitnessSettings(Settings):
    """One kind of server that is asked who it is, at mesh addresses and from nodes."""

    type: Literal["nats", "ssh-host-key"]
    port: StrictInt | None = Field(default=None, ge=1, le=65_535)
    """Port of the server on the mesh address. None: 4222 for nats, 22 for ssh-host-key."""
    name: str = Field(default="{node}", min_length=1, max_length=400)
    """Template over the registration: what the server of that node calls itself."""
    monitoring_port: StrictInt | None = Field(default=None, ge=1, le=65_535)
    """Port of a NATS server's monitoring on its node's own loopback. None: it is not asked."""
    region_tag: str = Field(default="region:", max_length=100)
    """Beginning of the server tag that names its region. Empty: tags say nothing."""
    known_hosts: UserPath | None = None
    """File that ties host keys to nodes. None: `ssh.known_hosts`."""
    observers: StrictInt = Field(default=3, ge=1, le=1000)
    """Nodes of each region from which an address is asked."""
    share: Annotated[float, Strict(), Field(ge=0, le=1)] = 0.01
    """Share of the registered addresses that is asked beside, without a finding."""
    timeout: Annotated[float, Strict(), Field(gt=0, le=60)] = 3.0
    """Seconds for one question, whole."""

    @classmethod
    def contradictions(cls, table: Mapping[str, object]) -> Iterator[Contradiction]:
        """Find keys of another type than the entry's."""
        kind = table.get("type")
        for key, owner in _OF_ONE.items():
            if key in table and kind in _OF_ONE.values() and kind != owner:
                yield Contradiction((key,), "only a witness of another type has this key")

    @property
    def source(self) -> AnswerSource:
        """Kind of server that is asked."""
        return AnswerSource(self.type)

    @property
    def asked_port(self) -> int:
        """Port that is asked."""
        return _PORTS[self.source] if self.port is None else self.port
