"""Nodes with workload by Consul's catalog: those on which one service is registered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from auditor.errors import GapReason, RegistryError
from auditor.registry.answers import rows
from auditor.registry.client import check_settings, connect, without
from auditor.values.models import NodeId

if TYPE_CHECKING:
    from pydantic import SecretStr

    from auditor.registry.client import Response
    from auditor.settings.consul import ConsulSettings


def read_workloads(
    settings: ConsulSettings, token: SecretStr | None, datacenter: str, service: str
) -> frozenset[NodeId]:
    """List the nodes of one datacenter that have the service, by one `consistent` read. Raises `RegistryError`."""
    check_settings(settings, token)

    def decoded(response: Response) -> object:
        return json.loads(response.content)

    params = [("consistent", "1"), *([("dc", datacenter)] if datacenter else [])]
    with connect(settings, token, datacenter) as client:
        try:
            answer = client.http.get(decoded, f"/v1/catalog/service/{quote(service, safe='')}", params)
            names = [row.get("Node") for row in rows(answer, dict, client.asked)]
        except RegistryError as error:
            raise RegistryError(error.reason, without(token, error.detail)) from None
        if client.http.filtered:
            raise RegistryError(
                GapReason.CONSUL_FILTERED,
                f"{client.asked}: Consul left out what the token may not read; give it one that may read all",
            )
        found = frozenset(NodeId(datacenter, name) for name in names if isinstance(name, str) and name)
        if len(found) < len(set(map(str, names))):
            raise RegistryError(GapReason.CONSUL_UNREADABLE, f"{client.asked}: a row names no node")
    return found
