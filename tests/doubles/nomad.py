"""Nomad's HTTP API, as far as nodes are listed and made eligible, as its sources and published rules have it.

Strict: another method, path, body or token than Nomad takes is refused as Nomad refuses it, in plain text.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.doubles.server import Call, Double, Reply

_IDENT = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ELIGIBILITY = re.compile(rf"/v1/node/({_IDENT})/eligibility")


class NomadDouble(Double):
    """Holds `nodes` by name. `read`, `write`: tokens with `node:read` and `node:write`; without any, ACLs are off."""

    def __init__(self, *names: str, read: str = "", write: str = "", **more: Any) -> None:
        super().__init__(**more)
        self.nodes: list[dict[str, Any]] = []
        self._read, self._write = read, write
        for name in names:
            self.node(name)

    def node(self, name: str, *, status: str = "ready", draining: bool = False) -> dict[str, Any]:
        """Has Nomad list a further node of this name."""
        number = len(self.nodes) + 1
        row = {
            "Address": f"198.18.0.{number}",
            "ID": f"{number:08x}-4d6e-c0de-26d0-e383c49be941",
            "Datacenter": "dc1",
            "Name": name,
            "NodeClass": "",
            "Version": "1.6.1",
            "Drain": draining,
            "SchedulingEligibility": "ineligible" if draining else "eligible",
            "Status": status,
            "StatusDescription": "",
            "Drivers": {"docker": {"Detected": True, "Healthy": True}},
            "CreateIndex": number,
            "ModifyIndex": number,
        }
        self.nodes.append(row)
        return row

    def eligibility(self, name: str) -> list[str]:
        """What Nomad has for the nodes of this name."""
        return [row["SchedulingEligibility"] for row in self.nodes if row["Name"] == name]

    def answer(self, call: Call) -> Reply:
        if call.path == "/v1/nodes":
            return self._list(call)
        if (found := _ELIGIBILITY.fullmatch(call.path)) is not None:
            return self._set(call, found[1])
        return Reply(404, b"")

    def _list(self, call: Call) -> Reply:
        if call.method != "GET":
            return Reply(405, b"Invalid method")
        if not self._may(call, self._read, self._write):
            return Reply(403, b"Permission denied")
        return Reply(
            200, json.dumps(self.nodes).encode(), {"X-Nomad-KnownLeader": "true", "X-Nomad-Index": "7"}
        )

    def _set(self, call: Call, ident: str) -> Reply:
        if call.method not in ("PUT", "POST"):
            return Reply(405, b"Invalid method")
        try:
            asked = json.loads(call.body)
        except ValueError as error:
            return Reply(400, str(error).encode())
        if not self._may(call, self._write):
            return Reply(403, b"Permission denied")
        # The body's ident wins over the path's.
        ident = asked.get("NodeID") or ident
        row = next((row for row in self.nodes if row["ID"] == ident), None)
        if asked.get("Eligibility") not in ("eligible", "ineligible"):
            return Reply(500, f'invalid scheduling eligibility "{asked.get("Eligibility")}"'.encode())
        if row is None:
            return Reply(500, b"node not found")
        if row["Drain"] and asked["Eligibility"] == "eligible":
            return Reply(500, b"can not set node's scheduling eligibility to eligible while it is draining")
        row["SchedulingEligibility"] = asked["Eligibility"]
        row["ModifyIndex"] += 100
        said = {
            "EvalIDs": None,
            "EvalCreateIndex": 0,
            "NodeModifyIndex": row["ModifyIndex"],
            "Index": row["ModifyIndex"],
        }
        return Reply(200, json.dumps(said).encode())

    def _may(self, call: Call, *tokens: str) -> bool:
        if not self._read and not self._write:
            return True
        return call.headers.get("x-nomad-token", "") in [token for token in tokens if token]
