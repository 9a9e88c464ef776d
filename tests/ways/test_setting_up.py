"""The way of an SRE who sets wgaudit up: from the first question of `init` to the first alert, silence and history."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.demo.demo_fleet import REGISTRY_PREFIX
from auditor.demo.folder import registry_items
from auditor.settings.file import load_config
from tests.doubles.receiver import Receiver
from tests.parts.consul import ConsulServer
from tests.ways.documents import README, ROOT, Step, faults, reads_well, shown_in, walk
from tests.ways.fleet import Mesh, served_mesh
from tests.ways.terminal import Shown

ALERTS = ROOT / "docs" / "alerts.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
SECURITY = ROOT / "docs" / "security.md"
KNOWN_HOSTS, KEY, TOKEN = "~/.ssh/known_hosts", "~/.ssh/audit", "~/token"
ANSWERS = (
    ("File that holds the Consul token (- goes on without it):", TOKEN),
    ("Enter takes all of it; a number corrects that line:", ""),
    ("SSH user on the nodes (empty: as ~/.ssh/config says, else root):", ""),
    (f"File with the nodes' host keys (known_hosts) [{KNOWN_HOSTS}]:", ""),
    ("Private key for SSH (empty: the agent's keys and ssh's own):", KEY),
)
HOSTS = "wgaudit nodes -o hosts"
SILENCE = 'wgaudit silence add --address 10.0.0.1 --for 2h --comment "moving edge-sin-1"'
LISTED, EXPIRE, EXPIRED = (
    "wgaudit silence list",
    "wgaudit silence expire 1f3a9c02",
    "wgaudit silence list, expired",
)
FIRST = (
    Step("wgaudit init", answers=ANSWERS),
    Step("wgaudit config check"),
    Step("wgaudit config show"),
    Step("wgaudit doctor"),
    Step(HOSTS, for_programs=True),
)
CONFIGURED = (
    Step("wgaudit sweep", 1),
    Step("wgaudit alerts test"),
    Step("wgaudit sweep --alert", 1),
    Step(SILENCE),
    Step(LISTED),
)
LAST = (
    Step(EXPIRE),
    Step(LISTED, name=EXPIRED),
    Step("wgaudit history"),
)
MORE = """
[sweep]
confirm_after = 0.1

[[notifiers]]
name = "oncall"
type = "webhook"
url = "{url}/hook"
"""

Screens = dict[str, tuple[Step, Shown]]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """What takes the alerts."""
    with Receiver() as double:
        yield double


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SRE's home, where wgaudit is set up."""
    return tmp_path_factory.mktemp("sre")


@pytest.fixture(scope="module")
def screens(folder: Path, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screens]:
    """What was seen, from the first command to the history."""
    with (
        ConsulServer(tmp_path_factory.mktemp("consul"), acl=True) as consul,
        served_mesh(tmp_path_factory.mktemp("nodes")) as mesh,
    ):
        _register(mesh, consul)
        _furnish(folder, mesh, consul)
        seen = walk(FIRST, folder, {"CONSUL_HTTP_ADDR": consul.http_address})
        with (folder / "wgaudit.toml").open("a") as file:
            file.write(MORE.format(url=receiver.url))
        seen |= walk(CONFIGURED, folder)
        here = {"1f3a9c02": _silence(seen[LISTED][1])}
        yield seen | walk((step._replace(instead=here) for step in LAST), folder)


def _register(mesh: Mesh, consul: ConsulServer) -> None:
    """Put the fleet's registrations one by one in the order in which they were made: each has an index of its own."""
    for item in sorted(registry_items(mesh.fleet, mesh.served), key=lambda item: item.create_index):
        consul.put(item.key, item.value)


def _furnish(home: Path, mesh: Mesh, consul: ConsulServer) -> None:
    """Give the SRE what README asks for: a token that reads, an SSH key, and the nodes' host keys."""
    (home / ".ssh").mkdir(mode=0o700)
    shutil.copy(mesh.served.known_hosts, home / ".ssh" / "known_hosts")
    shutil.copy(mesh.served.client_key, home / ".ssh" / "audit")
    token = home / "token"
    token.touch(mode=0o600)
    token.write_text(consul.create_token(f'key_prefix "{REGISTRY_PREFIX}" {{ policy = "read" }}'))


def _silence(listed: Shown) -> str:
    """The name of the one silence that is listed."""
    found = re.search(r"\b[0-9a-f]{8}\b", listed.text)
    assert found, listed.text
    return found[0]


def test_the_documents_show_these_commands() -> None:
    shown = shown_in(README) | shown_in(ALERTS) | shown_in(CONFIGURATION)
    assert {step.line for step in (*FIRST, *CONFIGURED, *LAST)} - {HOSTS} <= shown
    assert f"`{HOSTS} | " in SECURITY.read_text()


def test_each_screen_fits_and_ends_as_it_should(screens: Screens) -> None:
    assert [fault for step, shown in screens.values() for fault in faults(step, shown)] == []


def test_init_says_what_it_guessed_and_why_and_takes_the_answers(
    screens: Screens, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    text = screens["wgaudit init"][1].text
    assert "no token was sent" in text
    assert "15 of 15 values have a 32-byte key there" in text
    config = load_config(folder / "wgaudit.toml")
    assert config.consul.prefix == REGISTRY_PREFIX
    assert config.consul.token_file == folder / "token"
    assert config.ssh.known_hosts == folder / ".ssh" / "known_hosts"
    assert config.ssh.identity_files == (folder / ".ssh" / "audit",)


def test_what_init_wrote_is_whole_and_each_part_works(screens: Screens) -> None:
    assert "no fault" in " ".join(screens["wgaudit config check"][1].text.split())
    told = screens["wgaudit doctor"][1].lines
    assert [line for line in told if line.startswith("fail")] == []
    assert "15 of 15 registrations can be read" in "\n".join(told)


def test_no_screen_shows_the_token(screens: Screens, folder: Path) -> None:
    token = (folder / "token").read_text()
    assert [name for name, (_, shown) in screens.items() if token in shown.written] == []
    assert "(secret)" in screens["wgaudit config show"][1].text


def test_the_sweep_begins_with_its_verdict_and_ends_with_its_summary(screens: Screens) -> None:
    assert reads_well(screens["wgaudit sweep"][1])
    assert "10.0.0.1 · duplicate-address" in screens["wgaudit sweep"][1].text


def test_the_first_alert_says_who_was_told_and_the_receiver_has_it(
    screens: Screens, receiver: Receiver
) -> None:
    assert "told oncall" in " ".join(screens["wgaudit sweep --alert"][1].text.split())
    told = {item["incident"]["subject"] for item in receiver.notifications if not item["test"]}
    assert "10.0.0.1" in told


def test_a_silence_is_listed_until_it_is_ended(screens: Screens) -> None:
    assert "moving edge-sin-1" in screens[LISTED][1].text
    assert "moving edge-sin-1" not in screens[EXPIRED][1].text


def test_the_history_lists_the_worst_first(screens: Screens) -> None:
    listed = re.findall(r"\b(critical|error)\b", screens["wgaudit history"][1].text)
    assert listed == ["critical", "critical", "error", "error"]
