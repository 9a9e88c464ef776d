"""`wgaudit doctor --watch`: what a watch needs is tried, and the one that runs is asked."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tests.cli.fleet import Fleet, contested
from tests.cli.test_doctor import Told
from tests.cli.watching import watching

Make = Callable[..., Fleet]
PARTS = (
    "watch",
    "watch: its page",
    "watch: the registry can be followed",
    "watch: nodes can be followed",
    "watch: open files",
)


def test_a_watch_that_is_not_configured_is_tried_where_that_is_asked_for(make_fleet: Make) -> None:
    fleet = make_fleet()
    plain = Told(fleet.run("doctor", "--nodes", "0"))
    assert not any(part.startswith("watch") for part in plain.parts)
    assert "what a watch needs (`wgaudit doctor --watch`)" in plain.words
    names = [option for node in fleet.served.ssh_hosts for option in ("--node", node)]
    told = Told(fleet.run("doctor", "--watch", *names))
    assert [told.parts[part] for part in PARTS] == ["ok"] * 5, told.text
    assert told.lines["watch"]["got"] == "none runs"
    assert told.lines["watch: nodes can be followed"]["got"] == "all 2 of them"


def test_the_watch_that_runs_is_asked_whether_it_is_ready(make_fleet: Make) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    fleet = make_fleet(watch={"listen": place, "follow_interval": 1.0})
    fleet.register(contested())
    with watching(fleet.folder) as watch:
        watch.wait_for("ready: ")
        told = Told(fleet.run("doctor", "--nodes", "0"))
        assert watch.end()[0] == 0
    assert told.parts["watch"] == told.parts["state"] == "ok"
    assert "one runs: " in told.lines["watch"]["got"]
    assert told.lines["watch: its page"] == {"tried": f"/-/ready at {place}", "got": "200 ready"}
    assert told.parts["watch: nodes can be followed"] == "-"  # none was asked


def test_an_address_that_is_taken_fails_with_what_to_do(make_fleet: Make) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        fleet = make_fleet(watch={"listen": f"127.0.0.1:{taken.getsockname()[1]}"})
        told = Told(fleet.run("doctor", "--nodes", "0"))
    assert told.parts["watch: its page"] == "FAIL"
    assert "another program listens there" in told.lines["watch: its page"]["got"]


def test_a_registry_that_cannot_be_read_cannot_be_followed(make_fleet: Make) -> None:
    fleet = make_fleet()
    (fleet.folder / "registry.json").unlink()
    told = Told(fleet.run("doctor", "--watch", "--nodes", "0"))
    assert told.parts["watch: the registry can be followed"] == "FAIL"
    assert told.lines["watch: the registry can be followed"]["do"]
