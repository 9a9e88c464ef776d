"""Whom a node sends to in vain: by samples of its counters, in every shell and awk, on a clock that the test sets."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from auditor.nodes.probe.probe import (
    ProbeAnswer,
    follow_request,
    inline_request,
    parse_answer,
    parse_followed,
    probe_script,
)
from auditor.values.peer_transfers import PeerTransfer
from tests.nodes.probe.test_probe_follows import Following
from tests.nodes.stubs import StubNode, key
from tests.parts import AWKS, SHELLS, command_of

START = 1_800_000_000
PEER = 2


@pytest.fixture
def node(tmp_path: Path) -> StubNode:
    return StubNode(tmp_path / "node")


def counted(node: StubNode, *samples: tuple[int, int, int, int], peer: int = PEER) -> None:
    """What the node's clock and counters are at each sample: seconds, bytes in, bytes out, the last handshake.

    A nap of the probe takes no time.
    """
    node.script("sleep", "#!/bin/sh\ncase $1 in 1) exec /bin/sleep 1 ;; esac\n")
    node.answer("number", "0\n")
    for number, (at, came, went, shook) in enumerate(samples, 1):
        node.answer(f"date.{number}", f"{START + at}\n")
        node.answer(f"transfer.{number}", f"{key(peer)}\t{came}\t{went}\n{key(9)}\t0\t0\n")
        node.answer(f"latest-handshakes.{number}", f"{key(peer)}\t{START + shook}\n{key(9)}\t0\n")
    node.script(
        "date",
        f'#!/bin/sh\ncd "{node.folder}"; read -r n <number; [ ! -f date.$((n + 1)) ] || n=$((n + 1))\n'
        "echo $n >number; cat date.$n\n",
    )
    wg = (node.folder / "wg").read_text()
    more = f'transfer | latest-handshakes) read -r n <"{node.folder}/number"; exec cat "{node.folder}/$3.$n" ;; esac'
    node.script("wg", wg.replace("case $1:$3 in", f"case $3 in {more}\ncase $1:$3 in", 1))


def answer(node: StubNode, shell: list[str] | None = None) -> ProbeAnswer:
    request = inline_request("digest", device="wg0", transfer=True)
    done = subprocess.run(
        [*(shell or ["/bin/sh"]), *request.command.split()[2:]],
        input=request.stdin,
        capture_output=True,
        env={"PATH": node.path},
        timeout=30,
        check=False,
    )
    return parse_answer(done.stdout, "wg0")


STUCK = ((0, 1000, 5000, -10), (4, 1000, 9000, -10), (20, 1184, 40000, 12))
"""Data goes out, handshakes come back, and come again after 22 seconds."""


@pytest.mark.parametrize("shell", SHELLS, ids="-".join)
def test_a_peer_that_is_sent_to_in_vain_is_told_with_what_went_and_came(
    node: StubNode, shell: tuple[str, ...]
) -> None:
    counted(node, *STUCK)
    (told,) = answer(node, command_of(shell)).transfers or ()
    assert told == PeerTransfer(key(PEER), 35000, 184, 20)
    assert told.unanswered


@pytest.mark.parametrize("awk", AWKS, ids="-".join)
def test_every_awk_counts_alike_beyond_what_a_word_holds(node: StubNode, awk: tuple[str, ...]) -> None:
    node.script("awk", f'#!/bin/sh\nexec {" ".join(command_of(awk))} "$@"\n')
    most = 7_000_000_000_000
    counted(node, *((at, came + most, went + most, shook) for at, came, went, shook in STUCK))
    assert answer(node).transfers == (PeerTransfer(key(PEER), 35000, 184, 20),)


@pytest.mark.parametrize(
    ("samples", "looks"),
    [
        # Idle, or nothing but keepalives.
        (((0, 1000, 5000, -10), (4, 1000, 5000, -10)), 2),
        (((0, 1000, 5000, -10), (4, 1032, 5032, -10)), 2),
        # Answers come.
        (((0, 1000, 5000, -10), (4, 9000, 9000, -10)), 2),
        # Down: it shook hands long ago.
        (((0, 1000, 5000, -290), (4, 1000, 9000, -290)), 2),
        # Logs, metrics: what goes out is received, for no handshake comes early; keepalives come back.
        (((0, 1000, 5000, -10), (4, 1000, 9000, -10), (20, 1064, 40000, -10)), 3),
        # The same, and the handshake was due.
        (((0, 1000, 5000, -117), (4, 1092, 9000, 3), (20, 1156, 40000, 3)), 3),
        # It answered in the end.
        (((0, 1000, 5000, -10), (4, 1000, 9000, -10), (20, 90000, 40000, 12)), 3),
        # The device was made anew meanwhile.
        (((0, 1000, 5000, -10), (4, 1000, 9000, -10), (20, 0, 148, 12)), 3),
    ],
    ids=["idle", "keepalives", "answered", "down", "one-way-traffic", "rekeyed", "late-answer", "reset"],
)
def test_what_is_no_one_way_peer_is_not_told(
    node: StubNode, samples: tuple[tuple[int, int, int, int], ...], looks: int
) -> None:
    counted(node, *samples)
    assert not [item for item in answer(node).transfers or () if item.unanswered]
    assert node.calls.count("wg show wg0 transfer") == looks


def test_how_the_other_side_sees_it_is_told_too(node: StubNode) -> None:
    """It receives and answers, and handshakes come often all the same."""
    counted(node, (0, 1000, 5000, -10), (4, 1010, 9000, -10), (20, 50000, 40000, 12))
    (told,) = answer(node).transfers or ()
    assert (told.received, told.unanswered) == (49000, False)


def test_wg_that_does_not_tell_costs_nothing_else(node: StubNode) -> None:
    (node.folder / "transfer").unlink()
    told = answer(node)
    assert (told.transfers, told.transfers_unread) == (None, "wg show transfer: exit 1")
    assert told.digest is not None


def test_an_installed_probe_compares_where_it_is_asked_to(node: StubNode) -> None:
    counted(node, *STUCK)
    file = node.script("wgaudit-probe", probe_script("wg0", False, ""))
    done = subprocess.run(
        [str(file)],
        capture_output=True,
        env={"PATH": node.path, "SSH_ORIGINAL_COMMAND": "wgaudit-probe/1 digest transfer"},
        timeout=30,
        check=True,
    )
    assert parse_answer(done.stdout, "wg0").transfers == (PeerTransfer(key(PEER), 35000, 184, 20),)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")], ids="-".join)
def test_a_followed_node_tells_it_after_two_windows_and_until_something_comes_back(
    node: StubNode, shell: tuple[str, ...], stack: ExitStack
) -> None:
    """Pauses of what is sent change nothing: nothing is concluded from silence."""
    counted(
        node,
        (0, 1000, 5000, -10),
        (30, 1276, 40000, 12),
        (60, 1552, 80000, 43),
        (90, 1552, 80000, 43),
        (120, 1828, 81000, 73),
        (150, 99000, 90000, 104),
    )
    # A nap of the probe lets the others breathe.
    node.script(
        "sleep", "#!/bin/sh\ncase $1 in ???*) exec /bin/sleep $1 ;; *) exec /bin/sleep 0.05 ;; esac\n"
    )
    following = Following(node, command_of(shell), follow_request(device="wg0", interval=1, beat=1), {})
    stack.enter_context(following.process)
    stack.callback(following.process.kill)
    told = []
    while len(told) < 3:
        if isinstance(said := following.next(), bytes):
            told.append(parse_followed(said, "wg0").transfers)
    stuck = (PeerTransfer(key(PEER), 40000, 276, 30),)
    assert told == [(), stuck, ()]
