"""The real nats-server: it says what the test gave it, where nobody else listens, and ends."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

from tests.parts.nats import NatsServer


def test_it_says_its_name_and_cluster_to_whoever_connects_and_its_tags_at_its_monitoring_port(
    tmp_path: Path,
) -> None:
    """Before any login, on ports that were free; afterwards it is gone."""
    with NatsServer(tmp_path, name="edge-sin-1", cluster="sin", tags=("region:sin",)) as server:
        pid = server.pid
        with socket.create_connection((server.address, server.port), 5) as connection:
            word, said = connection.makefile().readline().split(" ", 1)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{server.monitoring_port}/varz", timeout=5) as answer:
            varz = json.load(answer)

    info = json.loads(said)
    assert (word, info["server_name"], info["cluster"]) == ("INFO", "edge-sin-1", "sin")
    assert (varz["server_name"], varz["tags"]) == ("edge-sin-1", ["region:sin"])
    assert not Path(f"/proc/{pid}").exists()
