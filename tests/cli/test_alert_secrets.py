"""No secret of a notifier comes out anywhere: output, errors, previews, lists, history, the database's own bytes."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import installed
from tests.cli.fleet import HEALTHY, PAIR, Fleet, contested, mark
from tests.doubles.pagerduty import ROUTING_KEY, PagerDutyDouble
from tests.doubles.receiver import Receiver
from tests.doubles.server import Call, Double, Reply, Trouble
from tests.doubles.slack import SECRET_PATH, SlackDouble

Make = Callable[..., Fleet]
INCIDENT = Path(__file__).parents[2] / "fixtures" / "incident" / "snapshot.json.gz"
SIGNING = "whsec-PLANTED-signing-secret"
HOOK = "/hooks/PLANTED-hook-token?token=PLANTED-in-the-query"
PING = "/ping/PLANTED-uuid-of-the-check"
USER, PASSWORD = "PLANTED-user", "PLANTED-password"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SECRETS = ("PLANTED", BASIC, SIGNING, HOOK, ROUTING_KEY, SECRET_PATH, SECRET_PATH.split("/")[-1], "B0000TEST")


class Parrot(Double):
    """Says no, and repeats everything that it was sent and how."""

    def answer(self, call: Call) -> Reply:
        body = call.body.decode()
        key = body[max(body.find("routing_key"), 0) :][:60]
        said = f"{call.path} {call.headers.get('authorization')} {key} "
        return Reply(400, said.encode())


def configured(make_fleet: Make, inventory: str, oncall: str, chat: str, heartbeat: str) -> Fleet:
    """Every kind of secret, each in another way: as it is, in a file, in the environment."""
    fleet = make_fleet()
    (fleet.folder / "routing-key").write_text(f"{ROUTING_KEY}\n")
    (fleet.folder / "signing").write_text(SIGNING)
    fleet.configure(
        notifiers=[
            {
                "name": "inventory",
                "type": "webhook",
                "url": inventory.replace("://", f"://{USER}:{PASSWORD}@") + HOOK,
                "secret_file": str(fleet.folder / "signing"),
            },
            {
                "name": "oncall",
                "type": "pagerduty",
                "routing_key_file": str(fleet.folder / "routing-key"),
                "api": oncall,
            },
            {"name": "chat", "type": "slack", "url_env": "SLACK_URL"},
        ],
        alerts={"heartbeat_url": heartbeat + PING},
    )
    fleet.register(contested(PAIR))
    fleet.environment = {"SLACK_URL": chat + SECRET_PATH}
    return fleet


def everything(fleet: Fleet) -> dict[str, bytes]:
    """All that can be seen from outside after two sweeps, by where; and the database's files, byte by byte."""
    commands = {
        "sweep": ["sweep", "--alert", "--alert-timeout", "1"],
        "json": ["sweep", "--alert", "--alert-timeout", "1", "--format", "json"],
        "preview": ["alerts", "preview", "--replay", str(INCIDENT)],
        "test": ["alerts", "test"],
        "list": ["alerts", "list"],
        "retry": ["alerts", "retry", "--alert-timeout", "1"],
        "history": ["history"],
        "life": ["history", "show", mark(PAIR)],
    }
    seen = {}
    for name, command in commands.items():
        done = fleet.run("--verbose", *command)
        assert "internal error" not in done.stderr
        assert "Traceback" not in done.stderr
        seen[name] = (done.stdout + done.stderr).encode()
        fleet.register(HEALTHY if name == "sweep" else contested(PAIR))
    for path in fleet.database.parent.iterdir():
        seen[path.name] = path.read_bytes()
    return seen


def none_in(seen: dict[str, bytes]) -> None:
    """Fails where any secret, or a part that betrays it, stands anywhere."""
    for where, content in seen.items():
        for secret in SECRETS:
            assert secret.encode() not in content, where


def test_where_all_is_taken(
    make_fleet: Make, receiver: Receiver, pagerduty: PagerDutyDouble, slack: SlackDouble, heartbeat: Double
) -> None:
    receiver.secret = SIGNING
    fleet = configured(make_fleet, receiver.url, pagerduty.url, slack.url, heartbeat.url)
    none_in(everything(fleet))
    assert receiver.notifications  # else the secrets were never in use
    assert pagerduty.events
    assert slack.messages
    assert heartbeat.calls[0].path == f"{PING}/start"


def test_where_the_other_side_repeats_what_it_was_sent(make_fleet: Make) -> None:
    """A proxy's error page with the request in it: the worst that an answer can be."""
    with Parrot() as parrot:
        fleet = configured(make_fleet, parrot.url, parrot.url, parrot.url, parrot.url)
        seen = everything(fleet)
    none_in(seen)
    assert b"400 Bad Request" in seen["life"]


@pytest.mark.parametrize(
    "trouble", [Trouble.RESET, Reply(302, b"", {"Location": f"http://127.0.0.1:1{HOOK}"})]
)
def test_where_the_way_is_broken(make_fleet: Make, trouble: Trouble | Reply) -> None:
    with Double() as double:
        double.fault = trouble
        none_in(everything(configured(make_fleet, double.url, double.url, double.url, double.url)))


def test_where_nobody_is_there_or_the_url_is_misspelt(make_fleet: Make) -> None:
    refusing, misspelt = "http://127.0.0.1:1", "http://127.0.0.1:99999"
    none_in(everything(configured(make_fleet, misspelt, refusing, "http://[::1", refusing)))


def test_while_it_runs_and_in_what_it_left_when_it_was_killed(make_fleet: Make, slack: SlackDouble) -> None:
    """The journal beside the database, before it is folded in, and the process list."""
    with Double() as silent:
        silent.fault = Trouble.SILENCE
        fleet = configured(make_fleet, silent.url, silent.url, slack.url, slack.url)
        with installed(
            "--verbose", "sweep", "--alert", folder=fleet.folder, environment=fleet.environment
        ) as process:
            slack.wait_for(1)
            arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
            process.kill()
            stdout, stderr = process.communicate()
    seen = {path.name: path.read_bytes() for path in fleet.database.parent.iterdir()}
    assert len(seen["wgaudit.db-wal"]) > 0
    none_in({**seen, "arguments": arguments, "output": (stdout + stderr).encode()})
