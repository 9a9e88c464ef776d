"""Drains by Nomad's eligibility: the node of the same name gets nothing new, by Nomad's HTTP API.

Set up by the configuration alone: no proxy, netrc or authority comes from the environment, no redirect is followed, and
an answer is bounded in size and time. The token is in a header of the call, and in nothing that is said.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import httpx
from pydantic import SecretStr

from auditor.errors import DrainFailed, InvalidValue
from auditor.repair.drain.interface import Drainer, DrainTarget
from auditor.settings.nomad import NomadSettings
from auditor.values.drains import DrainMeans
from auditor.values.json_bounds import check_json
from auditor.values.text import for_detail, masked

MOST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer: a list of ten thousand nodes is some 20 MB."""
MOST_QUOTED = 200
"""Characters of an answer that an error quotes."""
_IDENT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ELIGIBLE, _INELIGIBLE = "eligible", "ineligible"

# httpx logs each request at INFO.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class NomadNode:
    """Node by Nomad's list."""

    ident: str
    eligible: bool
    draining: bool
    """Nomad moves its allocations away."""


class NomadDrainer(Drainer):
    """Sets the eligibility of nodes, found by their names."""

    def __init__(self, settings: NomadSettings, token: SecretStr | None) -> None:
        """Ask nothing yet. token: None where there is none."""
        self._settings = settings
        self._token = token

    @property
    def means(self) -> DrainMeans:
        """Nomad's eligibility."""
        return DrainMeans.NOMAD_ELIGIBILITY

    async def is_drained(self, target: DrainTarget) -> bool | None:
        """Ask for the node's eligibility. Raises `DrainFailed`."""
        return not (await self._node(target.node.name)).eligible

    async def drain(self, target: DrainTarget, reason: str) -> None:  # noqa: ARG002  (Nomad has no place for it)
        """Make the node ineligible. Raises `DrainFailed`."""
        await self._set(target, _INELIGIBLE)

    async def undrain(self, target: DrainTarget) -> None:
        """Make the node eligible. Raises `DrainFailed`."""
        await self._set(target, _ELIGIBLE)

    async def names(self) -> frozenset[str]:
        """Return the names of all nodes that Nomad lists. Raises `DrainFailed`."""
        return frozenset(str(row["Name"]) for row in await self._list())

    async def _set(self, target: DrainTarget, wanted: str) -> None:
        node = await self._node(target.node.name)
        if node.eligible is (wanted == _ELIGIBLE):
            return
        if wanted == _ELIGIBLE and node.draining:
            raise DrainFailed(
                "Nomad drains the node, which was not begun here: `nomad node drain -disable` ends that first"
            )
        path = f"/v1/node/{node.ident}/eligibility"
        await self._call("PUT", path, {"NodeID": node.ident, "Eligibility": wanted})
        if (await self._node(target.node.name)).eligible is not (wanted == _ELIGIBLE):
            raise DrainFailed(
                f"{self._settings.url}{path}: Nomad took the call, and the node is not {wanted}"
            )

    async def _node(self, name: str) -> NomadNode:
        """Find the node of this name; of several, the one that is not down. Raises `DrainFailed`."""
        rows = [row for row in await self._list() if row["Name"] == name]
        # A machine that was set up anew stands there twice until Nomad forgets the older one.
        rows = [row for row in rows if row["Status"] != "down"] or rows
        if len(rows) != 1:
            much = "no node" if not rows else f"{len(rows)} nodes"
            raise DrainFailed(
                f"{self._settings.url}: Nomad lists {much} of the name {for_detail(name[:200])}"
            )
        row = rows[0]
        return NomadNode(row["ID"], row["SchedulingEligibility"] == _ELIGIBLE, row["Drain"] is True)

    async def _list(self) -> list[dict[str, Any]]:
        """Read all nodes, each checked. Raises `DrainFailed`."""
        path = "/v1/nodes"
        body = await self._call("GET", path)
        try:
            check_json(body)
            rows = json.loads(body)
        except (InvalidValue, ValueError):
            rows = None
        if not isinstance(rows, list) or not all(map(_is_node, rows)):
            raise DrainFailed(
                f"{self._settings.url}{path}: not a list of Nomad's nodes; is that Nomad's address?"
            )
        return rows

    async def _call(self, method: str, path: str, content: Mapping[str, str] | None = None) -> bytes:
        """Make one call. Raises `DrainFailed` for all but a 200."""
        where = f"{self._settings.url}{path}"
        headers = {"Accept-Encoding": "identity", "User-Agent": "wgaudit"}
        if self._token is not None:
            headers["X-Nomad-Token"] = self._token.get_secret_value()
        try:
            async with (
                asyncio.timeout(self._settings.timeout),
                httpx.AsyncClient(verify=_trust(self._settings), trust_env=False, timeout=None) as client,  # noqa: S113
                client.stream(method, where, headers=headers, json=content) as answer,
            ):
                status, body = answer.status_code, await _body(answer, where)
        except TimeoutError:
            raise DrainFailed(f"{where}: no whole answer within {self._settings.timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            why = self._without_token(str(error)) or type(error).__name__
            raise DrainFailed(f"{where}: {why}") from None
        if status == 403:
            said = "no token was sent" if self._token is None else "the token may not"
            need = "node:write" if method == "PUT" else "node:read"
            raise DrainFailed(f"{where}: 403: {said} ({need} is needed; nomad.token_file)")
        if status != 200:
            said = self._without_token(body[: 4 * MOST_QUOTED].decode("utf-8", "replace"))
            raise DrainFailed(f"{where}: {status}: {said}" if said else f"{where}: {status}")
        return body

    def _without_token(self, text: str) -> str:
        """Make one line of foreign text for an error."""
        if self._token is not None and (secret := self._token.get_secret_value()):
            text = text.replace(secret, "[secret]")
        return for_detail(masked(text, cut=True))[:MOST_QUOTED]


def _is_node(row: object) -> bool:
    return (
        isinstance(row, dict)
        and all(isinstance(row.get(key), str) for key in ("ID", "Name", "Status", "SchedulingEligibility"))
        and isinstance(row.get("Drain"), bool)
        and _IDENT.fullmatch(row["ID"]) is not None
    )


async def _body(answer: httpx.Response, where: str) -> bytes:
    """Read an answer whole, within bounds; of a refusal, its beginning. Raises `DrainFailed`."""
    refused = answer.status_code != 200
    body = bytearray()
    async with aclosing(cast("AsyncGenerator[bytes, None]", answer.aiter_bytes(65536))) as chunks:
        async for chunk in chunks:
            body += chunk
            if refused and len(body) > 4 * MOST_QUOTED:
                break
            if len(body) > MOST_ANSWER:
                raise DrainFailed(f"{where}: an answer of more than {MOST_ANSWER:,} bytes")
    return bytes(body)


def _trust(settings: NomadSettings) -> ssl.SSLContext | bool:
    """Load the TLS files as they are now. Raises `DrainFailed`."""
    if not settings.url.startswith("https://"):
        return False
    try:
        context = (
            httpx.create_ssl_context(trust_env=False)
            if settings.ca_file is None
            else ssl.create_default_context(cafile=str(settings.ca_file))
        )
        if settings.cert_file is not None and settings.key_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: "")
    except OSError as error:  # an SSLError is one, too
        why = getattr(error, "reason", None) or error.strerror or str(error)
        raise DrainFailed(f"nomad.ca_file, nomad.cert_file, nomad.key_file: not usable now: {why}") from None
    return context
