"""The probe that goes on looking, in every shell: what it says, what it does not, and how it ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.errors import GapReason, ProbeError
from auditor.nodes.framing import Request
from auditor.nodes.probe.probe import (
    FRAMING,
    WORDS,
    ProbePlaces,
    follow_request,
    inline_request,
    installed_follow_request,
    parse_answer,
    parse_followed,
    probe_script,
    read_follow_request,
)
from auditor.values.addresses import Prefix
from tests.nodes.probe.test_probe_ends import gone, left_over
from tests.nodes.stubs import StubNode
from tests.parts import SHELLS, command_of


@pytest.fixture(params=SHELLS, ids="-".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    return command_of(request.param)


@pytest.fixture
def node(tmp_path: Path) -> StubNode:
    return StubNode(tmp_path / "node")


class Following:
    """A probe that goes on looking each second, and speaks each second."""

    def __init__(
        self, node: StubNode, shell: list[str], request: Request, environment: dict[str, str]
    ) -> None:
        words = request.command.removeprefix("exec /bin/sh ").split()
        self.process = subprocess.Popen(
            [*shell, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PATH": node.path, **environment},
            start_new_session=True,
        )
        self._parser = FRAMING.stream(WORDS, 1_000_000)
        self._said: list[bytes | str | ProbeError] = []
        assert self.process.stdin is not None
        self.process.stdin.write(request.stdin)
        self.process.stdin.flush()

    def next(self) -> bytes | str | ProbeError:
        """The next answer or word; read as it comes, for it keeps still else."""
        assert self.process.stdout is not None
        while not self._said:
            data = os.read(self.process.stdout.fileno(), 65536)
            assert data, "it has ended"
            self._said += self._parser.feed(data)
        return self._said.pop(0)

    def answer(self) -> bytes:
        said = self.next()
        assert isinstance(said, bytes), said
        return said

    def hang_up(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()


@pytest.fixture
def follow() -> Iterator[Callable[..., Following]]:
    with ExitStack() as stack:

        def begin(
            node: StubNode, shell: list[str], request: Request | None = None, **environment: str
        ) -> Following:
            request = request or follow_request(device="wg0", interval=1, beat=1)
            following = Following(node, shell, request, environment)
            stack.enter_context(following.process)
            stack.callback(following.process.kill)
            return following

        yield begin


async def test_it_says_what_is_new_and_confirms_it_and_ends_when_nobody_listens(
    follow: Callable[..., Following], node: StubNode, shell: list[str]
) -> None:
    """Nothing is written at the time, and nothing of it is left."""
    following = follow(node, shell)
    first = parse_followed(following.answer(), "wg0")
    assert first.device == node.device
    assert following.next() == "beat"
    node.peers(((2, "10.0.0.9/32"),))
    assert parse_followed(following.answer(), "wg0").digest != first.digest
    assert following.next() == "beat"
    assert left_over(node)
    following.hang_up()
    await gone(node)


def test_it_goes_on_after_a_look_that_failed(
    follow: Callable[..., Following], node: StubNode, shell: list[str]
) -> None:
    following = follow(node, shell)
    first = following.answer()
    assert following.next() == "beat"
    (node.folder / "allowed-ips").rename(node.folder / "elsewhere")
    with pytest.raises(ProbeError) as caught:
        parse_followed(following.answer(), "wg0")
    assert caught.value.reason is GapReason.UNREADABLE_OUTPUT
    assert following.next() == "beat"
    (node.folder / "elsewhere").rename(node.folder / "allowed-ips")
    assert following.answer() == first


def test_a_route_that_begins_to_hide_an_address_is_noticed_at_a_glance(
    follow: Callable[..., Following], node: StubNode
) -> None:
    (node.folder / "routes").write_text("10.0.0.0/8 dev wg0 scope link\n")
    node.script(
        "ip",
        f'#!/bin/sh\ncase $* in *all) exec cat "{node.folder}/routes" ;; *get*) echo "$3 dev docker0" ;;\n'
        f'*) exec cat "{node.folder}/listing" ;; esac\n',
    )
    places = ProbePlaces(pools=(Prefix("10.0.0.0/8"),))
    following = follow(node, ["/bin/sh"], follow_request(device="wg0", interval=1, beat=300, places=places))
    first = parse_followed(following.answer(), "wg0")
    assert first.shadows == ()
    assert following.next() == "beat"
    with (node.folder / "routes").open("a") as routes:
        routes.write("10.0.0.0/24 dev docker0 scope link\n")
    second = parse_followed(following.answer(), "wg0")
    assert [item.device for item in second.shadows or ()] == ["docker0"]
    assert second.digest == first.digest


def test_region_and_endpoints_are_told_as_in_a_look(
    follow: Callable[..., Following], node: StubNode, shell: list[str]
) -> None:
    asked = {"endpoints": True, "region_command": "echo fra"}
    following = follow(node, shell, follow_request(device="wg0", interval=1, **asked))  # type: ignore[arg-type]
    once = inline_request("digest", device="wg0", **asked)  # type: ignore[arg-type]
    looked = subprocess.run(
        [*shell, *once.command.split()[2:]],
        input=once.stdin,
        capture_output=True,
        env={"PATH": node.path},
        check=True,
    )
    told = parse_followed(following.answer(), "wg0")
    # Samples of counters are always taken where it follows.
    assert told == replace(parse_answer(looked.stdout, "wg0"), transfers=())


@pytest.mark.parametrize("words", ["follow", "follow 1", "follow endpoints", "follow 300 endpoints"])
def test_an_installed_probe_follows_where_it_is_asked_to(
    follow: Callable[..., Following], node: StubNode, shell: list[str], words: str
) -> None:
    file = node.script("wgaudit-probe", probe_script("wg0", False, ""))
    following = follow(
        node, [*shell, str(file)], Request("", b""), SSH_ORIGINAL_COMMAND=f"wgaudit-probe/2 {words}"
    )
    answer = parse_followed(following.answer(), "wg0")
    assert (answer.endpoints is not None) == words.endswith("endpoints")
    assert following.next() == "beat"


@pytest.mark.parametrize(
    "words",
    ["follow 0", "follow 301", "follow 1000", "follow -1", "follow 05", "follow 5 5", "follow 5; touch pwned",
     "follow $(touch pwned)", "follow  5", "follow 5 ", "follow\n5", "follow 5 endpoints 5", "digest", "text"],
)  # fmt: skip
def test_an_installed_probe_follows_at_no_other_words(node: StubNode, words: str) -> None:
    file = node.script("wgaudit-probe", probe_script("wg0", False, ""))
    run = subprocess.run(
        [str(file)],
        capture_output=True,
        env={"PATH": node.path, "SSH_ORIGINAL_COMMAND": f"wgaudit-probe/2 {words}"},
        cwd=node.folder,
        check=False,
        timeout=10,
    )
    assert run.returncode == 64
    with pytest.raises(ProbeError, match="refused"):
        parse_answer(run.stdout, "wg0")
    assert node.calls == []
    assert not (node.folder / "pwned").exists()


def test_a_request_to_follow_can_be_read_by_servers_without_a_shell() -> None:
    for endpoints in (False, True):
        for interval in (1.0, 5.5, 300.0):
            inline = follow_request(device="wg0", interval=interval, endpoints=endpoints)
            installed = installed_follow_request(interval, endpoints=endpoints)
            assert read_follow_request(inline.command) == read_follow_request(installed.command)
            assert read_follow_request(installed.command) == (int(interval), endpoints)
    assert read_follow_request(inline_request("digest", device="wg0").command) is None


async def test_a_script_that_has_run_as_long_as_it_may_says_so_and_leaves_nothing(
    follow: Callable[..., Following], node: StubNode, shell: list[str]
) -> None:
    request = follow_request(device="wg0", interval=1)
    short = Request(request.command, request.stdin.replace(b"life=$((10800 + $$ % 3600))", b"life=2"))
    following = follow(node, shell, short)
    following.answer()
    assert [following.next(), following.next()] == ["beat", "done"]
    await gone(node)
