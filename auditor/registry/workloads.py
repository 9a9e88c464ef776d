"""Workload by Consul's catalog: the nodes that have one service, and the services that nodes have."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import quote

from auditor.errors import GapReason, RegistryError
from auditor.registry.agent import check_settings, without
from auditor.registry.answers import rows
from auditor.registry.client import connect
from auditor.values.models import NodeId

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


def read_services(
    settings: ConsulSettings, token: SecretStr | None, nodes: Iterable[NodeId]
) -> Mapping[NodeId, Mapping[str, int]]:
    """Count the services of each of these nodes by name, by one `consistent` read a node. Raises `RegistryError`.

    A node that Consul does not know by its name is left out.
    """
    check_settings(settings, token)

    def decoded(response: Response) -> object:
        return json.loads(response.content) if response.content.strip() else None

    found: dict[NodeId, Mapping[str, int]] = {}
    for node in nodes:
        params = [("consistent", "1"), *([("dc", node.datacenter)] if node.datacenter else [])]
        with connect(settings, token, node.datacenter) as client:
            try:
                answer = client.http.get(decoded, f"/v1/catalog/node/{quote(node.name, safe='')}", params)
            except RegistryError as error:
                raise RegistryError(error.reason, without(token, error.detail)) from None
            if client.http.filtered:
                raise RegistryError(
                    GapReason.CONSUL_FILTERED,
                    f"{client.asked}: Consul left out what the token may not read; give it one that may read all",
                )
            if answer is None:
                continue
            services = answer.get("Services") if isinstance(answer, dict) else answer
            if not isinstance(services, dict) or not all(
                isinstance(item, dict) and isinstance(item.get("Service"), str) for item in services.values()
            ):
                detail = f"{client.asked}: the answer is not the node that it should be"
                raise RegistryError(GapReason.CONSUL_UNREADABLE, detail)
            found[node] = Counter(str(item["Service"]) for item in services.values())
    return found
