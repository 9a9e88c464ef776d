"""Walk over an unknown Consul: bounded, and as far as the token leads."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from auditor.errors import GapReason, RegistryError
from auditor.registry.guess.survey import Survey, survey_consul
from auditor.settings.consul import ConsulSettings
from tests.registry.guess.registries import items, json_registry
from tests.registry.scripted_server import HEALTHY, Scripted, scripted_server


def consul_of(
    keys: Mapping[str, bytes], forbidden: Callable[[str], bool]
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answers as Consul does for these keys; `forbidden` says of a path that the token may not read it."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        split = urlsplit(request.path)
        query, path = parse_qs(split.query, keep_blank_values=True), unquote(split.path)
        prefix = path.removeprefix("/v1/kv/")
        found: object
        if forbidden(path):
            status, found = 403, "Permission denied"
        elif not path.startswith("/v1/kv/"):
            status, found = 200, ["dc1"] if path.endswith("datacenters") else []
        elif "keys" in query:
            below = [key[len(prefix) :] for key in keys if key.startswith(prefix)]
            found = sorted(
                {prefix + (rest.partition("/")[0] + ("/" if "/" in rest else "")) for rest in below}
            )
            status = 200 if below else 404
        else:
            rows = [key for key in keys if key == prefix or ("recurse" in query and key.startswith(prefix))]
            found = [
                {
                    "Key": key,
                    "Value": base64.b64encode(keys[key]).decode(),
                    "Flags": 0,
                    "CreateIndex": 1,
                    "ModifyIndex": 1,
                }
                for key in rows
            ]
            status = 200 if rows else 404
        body = json.dumps(found).encode()
        request.send_response(status)
        for name, value in HEALTHY.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def survey(script: Scripted, start: str = "") -> Survey:
    """Surveys that server."""
    return survey_consul(ConsulSettings(url=script.url, timeout=5.0), None, start=start)


def values(registry: Mapping[str, object]) -> dict[str, bytes]:
    return {item.key: item.value or b"" for item in items(registry)}


def test_where_lists_need_a_policy_of_their_own_the_usual_prefix_is_tried() -> None:
    """And what was forbidden is told."""
    with scripted_server() as script:
        script.write = consul_of(
            values(json_registry("wireguard/nodes/")), lambda path: path in ("/v1/kv/", "/v1/catalog/nodes")
        )
        found = survey(script)
    assert [(item.prefix, number) for item, number in found.candidates] == [("wireguard/nodes/", 9)]
    assert found.cut_short == "the token may not list the top level; the token may not read the catalog"


def test_where_nothing_may_be_listed_that_is_the_error() -> None:
    with scripted_server() as script:
        script.write = consul_of({}, lambda path: path.startswith("/v1/kv/"))
        with pytest.raises(RegistryError) as caught:
            survey(script)
    assert caught.value.reason is GapReason.CONSUL_FORBIDDEN


def test_a_large_store_is_looked_at_in_part_and_the_registrations_whole() -> None:
    """Of a folder with many keys a few values are read; `vault/` is nobody's business."""
    noise = {f"app/{number}": "x" for number in range(400)}
    deep = {f"teams/t{number}/k/a": "x" for number in range(400)}
    secret = {"vault/core/key": "x"}
    with scripted_server() as script:
        keys = values({**noise, **deep, **secret, **json_registry("infra/peers/", 60)})
        script.write = consul_of(keys, lambda _path: False)
        found = survey(script)
        asked = len(script.asked)
        assert not any("vault" in path for path in script.asked)
    (best, number), *_ = found.candidates
    assert (best.prefix, number, len(best.records)) == ("infra/peers/", 60, 60)
    assert asked < 120


def test_a_start_narrows_the_walk() -> None:
    with scripted_server() as script:
        script.write = consul_of(
            values({**json_registry(), **json_registry("else/", 20)}), lambda _path: False
        )
        found = survey(script, "infra/peers/")
    assert [item.prefix for item, _ in found.candidates] == ["infra/peers/"]
