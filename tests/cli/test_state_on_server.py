"""Commands on a state in PostgreSQL: all that one of them wrote, each other one reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from tests.cli.conftest import to_receiver
from tests.cli.fleet import PAIR, Fleet, contested, mark
from tests.doubles.receiver import Receiver
from tests.parts.postgresql import PostgresqlServer

Make = Callable[..., Fleet]
PASSWORD = "correct-horse-battery-staple"


def test_commands_share_a_state_on_a_server_and_none_shows_its_password(
    make_fleet: Make, receiver: Receiver, postgresql: PostgresqlServer
) -> None:
    url = urlsplit(postgresql.url(postgresql.fresh()).get_secret_value())
    user, at, host = url.netloc.rpartition("@")
    fleet = make_fleet(
        notifiers=[to_receiver(receiver)],
        state_url=urlunsplit(url._replace(netloc=f"{user}:{PASSWORD}{at}{host}")),
    )
    said: list[str] = []

    def run(*arguments: str) -> str:
        done = fleet.run(*arguments)
        said.append(done.stdout + done.stderr)
        return done.stdout + done.stderr

    fleet.register(contested(PAIR))
    run("sweep", "--alert", "--no-progress")
    assert [item["reason"] for item in receiver.notifications] == ["first-notification"]
    run("silence", "add", "--for", "2h", "--address", PAIR, "--comment", "moved")
    assert "moved" in run("sweep", "--no-progress")
    fleet.register(contested())
    run("sweep", "--alert", "--no-progress")
    assert [item["reason"] for item in receiver.notifications] == ["first-notification", "resolved"]
    (silence,) = json.loads(fleet.run("silence", "list", "--format", "json").stdout)["silences"]
    run("silence", "expire", silence["ident"])
    assert "first-notification" in run("history", "show", mark(PAIR))
    run("timeline", mark(PAIR))
    told = run("doctor")
    assert f"open postgresql://{user}:***@" in told
    assert not fleet.database.exists()
    assert PASSWORD not in "".join(said)
