"""Rights of the token on the registrations: what tells a list that shrank from a list that is hidden.

Consul leaves out of a list what the token may not read, and says nothing of it. But for a single key it says that it
is forbidden, whether the key exists or not; and a token can ask what it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.errors import GapReason, RegistryError

if TYPE_CHECKING:
    from auditor.registry.follow.agent_http import AgentHttp
    from auditor.settings.consul import ConsulSettings

_SELF = "/v1/acl/token/self"


async def may_read(http: AgentHttp, settings: ConsulSettings, datacenter: str) -> bool | None:
    """Ask whether the token may read the prefix itself; None: that cannot be asked, as of the catalog.

    Raises `RegistryError` where there is no answer.
    """
    if settings.layout == "catalog":
        return None
    params = [*([("dc", datacenter)] if datacenter else []), ("consistent", "1")]
    try:
        await http.read(f"/v1/kv/{settings.prefix}", params, indexed=True)
    except RegistryError as error:
        if error.reason is GapReason.CONSUL_FORBIDDEN:
            return False
        raise
    return True


async def token_is_known(http: AgentHttp, datacenter: str) -> bool | None:
    """Ask whether Consul knows the token; None: it does not say, as without access control lists."""
    try:
        await http.read(_SELF, [("dc", datacenter)] if datacenter else [], indexed=False)
    except RegistryError as error:
        return False if error.reason is GapReason.CONSUL_FORBIDDEN else None
    return True
