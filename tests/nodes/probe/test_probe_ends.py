"""What is left on a node behind a look: nothing, after its bound, however the connection ended."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import asyncssh
import pytest

from auditor.errors import GapReason, ProbeError
from auditor.nodes.probe.probe import inline_request, parse_answer, probe_script
from auditor.nodes.table_store import TableStore
from tests.nodes.bench import Bench
from tests.nodes.stubs import StubNode
from tests.parts import SHELLS, command_of
from tests.parts.sshd import public

IGNORES = "trap '' TERM HUP INT PIPE\n"
HANGS = {
    "hangs": "began; exec sleep 300",
    "hangs in a child of its own": "began; sleep 300; exit 1",
    "ignores what it is sent": IGNORES + "began; sleep 300 & wait; sleep 300",
    "prints without end": "began; exec yes",
    "prints without end and minds no closed pipe": IGNORES
    + "began; while :; do echo xxxxxxxx; done 2>/dev/null",
    "complains without end": "began; exec yes >&2",
}


class Hanging:
    """A `wg` that answers up to one field and never ends there."""

    def __init__(self, node: StubNode, how: str, field: str, descriptor: int) -> None:
        self._descriptor = descriptor
        node.script(
            "wg",
            f'#!/bin/sh\n[ "$3" = {field} ] || exec cat "{node.folder}/$3"\n'
            f'began() {{ echo >"{node.folder}/begun"; }}\n{HANGS[how]}\n',
        )

    async def began(self) -> None:
        """Waits until it was asked for the field at which it hangs."""
        happened, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(self._descriptor, happened.set)
        try:
            async with asyncio.timeout(10):
                await happened.wait()
        finally:
            loop.remove_reader(self._descriptor)


@pytest.fixture
def hanging() -> Iterator[Callable[..., Hanging]]:
    with ExitStack() as stack:

        def hang(node: StubNode, how: str, field: str = "allowed-ips") -> Hanging:
            os.mkfifo(node.folder / "begun")
            descriptor = os.open(node.folder / "begun", os.O_RDWR | os.O_NONBLOCK)
            stack.callback(os.close, descriptor)
            return Hanging(node, how, field, descriptor)

        yield hang


def left_over(node: StubNode) -> dict[int, str]:
    """The command lines of all processes that have this node's stubs on their PATH, by number."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        # A login shell's start-up files may put folders before them.
        path = next((line[5:] for line in environment if line.startswith(b"PATH=")), b"")
        if str(node.folder).encode() in path.split(b":") and b"pytest" not in words:
            found[int(process.name)] = words.replace(b"\0", b" ").decode()
    return found


async def gone(node: StubNode) -> None:
    """Waits until nothing of it is left; what a node's kernel does has no event that a test could await."""
    async with asyncio.timeout(10):
        while left_over(node):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.fixture
def node(tmp_path: Path) -> StubNode:
    return StubNode(tmp_path / "node")


def run_bounded(
    node: StubNode, *, shell: list[str] | None = None, leads: bool = True, **options: object
) -> subprocess.Popen[bytes]:
    """A probe with a bound of one second. leads: in a session of its own, as sshd starts it."""
    request = inline_request("digest", device="wg0", seconds=1, **options)  # type: ignore[arg-type]
    process = subprocess.Popen(
        [*(shell or ["/bin/sh"]), *request.command.removeprefix("exec /bin/sh ").split()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": node.path},
        start_new_session=leads,
    )
    assert process.stdin is not None
    process.stdin.write(request.stdin)
    process.stdin.close()
    return process


@pytest.mark.parametrize("how", HANGS)
async def test_whatever_wg_does_nothing_of_it_is_left_after_the_bound(
    hanging: Callable[..., Hanging], node: StubNode, how: str
) -> None:
    hanging(node, how)
    with run_bounded(node) as process:
        assert process.stdout is not None
        said = await asyncio.to_thread(process.stdout.read)
        await gone(node)
    with pytest.raises(ProbeError):
        parse_answer(said, "wg0")


@pytest.mark.parametrize("shell", SHELLS, ids="-".join)
@pytest.mark.parametrize("leads", [True, False])
async def test_every_shell_ends_it_whether_or_not_it_leads_its_group(
    hanging: Callable[..., Hanging], node: StubNode, shell: tuple[str, ...], leads: bool
) -> None:
    hanging(node, "ignores what it is sent", "public-key")
    with run_bounded(node, shell=command_of(shell), leads=leads):
        await gone(node)


async def test_a_probe_that_ended_leaves_nothing_that_waits_for_its_bound(node: StubNode) -> None:
    with run_bounded(node) as process:
        assert process.stdout is not None
        assert parse_answer(await asyncio.to_thread(process.stdout.read), "wg0").digest
    await gone(node)


async def test_a_killed_script_takes_its_wg_along(hanging: Callable[..., Hanging], node: StubNode) -> None:
    """As the kernel does where memory is short: what is left of its group ends soon after."""
    wg = hanging(node, "hangs")
    with run_bounded(node) as process:
        await wg.began()
        process.kill()
        await gone(node)


SUDO = """#!/bin/sh
shift
# As the real one: what it starts is another's, and nobody's group reaches it.
exec setsid -w "$@"
"""


@pytest.mark.parametrize("how", ["hangs in a child of its own", "ignores what it is sent"])
async def test_under_sudo_roots_child_ends_as_well(
    hanging: Callable[..., Hanging], node: StubNode, how: str
) -> None:
    node.script("sudo", SUDO)
    hanging(node, how)
    with run_bounded(node, sudo=True):
        await gone(node)


async def test_an_endless_answer_is_never_held(hanging: Callable[..., Hanging], node: StubNode) -> None:
    """The shell that kept it grew to 1.5 GB."""
    hanging(node, "prints without end", "public-key")
    shell = [shutil.which("bash") or "bash", "-c", 'ulimit -v 100000; exec /bin/sh "$@"', "bash"]
    with run_bounded(node, shell=shell) as process:
        assert process.stdout is not None
        said = await asyncio.to_thread(process.stdout.read)
    with pytest.raises(ProbeError) as caught:
        parse_answer(said, "wg0")
    assert "wg show public-key" in caught.value.detail


STAGES = [
    ("client", "public-key"),
    ("client", "allowed-ips"),
    ("connection", "public-key"),
    ("connection", "allowed-ips"),
    ("listener", "allowed-ips"),
    ("timeout", "public-key"),
]


@pytest.mark.parametrize(("end", "field"), STAGES)
async def test_however_the_connection_ends_the_node_is_left_clean(
    hanging: Callable[..., Hanging], bench: Bench, end: str, field: str
) -> None:
    """The client goes, the connection is cut, sshd's listener is killed, or the time for the command is up."""
    wg = hanging(bench.node, "ignores what it is sent", field)
    server = bench.sshd()
    nodes = bench.nodes(command_timeout=3.0)
    look = asyncio.create_task(nodes.observe(bench.registered(server), TableStore()))
    await wg.began()
    if end == "client":
        look.cancel()
    elif end == "listener":
        assert server._process is not None
        server._process.send_signal(signal.SIGKILL)
    elif end == "connection":
        (session,) = children_of(server._process.pid if server._process else 0)
        os.kill(session, signal.SIGKILL)
    with pytest.raises((ProbeError, asyncio.CancelledError)) as caught:
        await look
    if end == "timeout":
        assert isinstance(caught.value, ProbeError)
        assert caught.value.reason is GapReason.COMMAND_TIMEOUT
    await gone(bench.node)


def children_of(parent: int) -> list[int]:
    """Processes that this one started."""
    file = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(word) for word in file.read_text().split()]


async def test_an_installed_probe_is_bounded_by_itself(hanging: Callable[..., Hanging], bench: Bench) -> None:
    """sshd passes no signal on to a forced command."""
    hanging(bench.node, "hangs", "public-key")
    text = probe_script("wg0", False, "").replace("seconds=60\n", "seconds=1\n")
    file = bench.node.script("wgaudit-probe", text)
    server = bench.sshd(authorized=[f'command="{file}",restrict {public(bench.identity)}'])
    error = await bench.refused(server, probe="installed", command_timeout=5.0)
    assert error.reason is GapReason.UNREADABLE_OUTPUT
    await gone(bench.node)


async def test_a_connection_cut_while_the_script_is_sent_leaves_nothing(bench: Bench) -> None:
    server = bench.sshd()
    request = inline_request("digest", device="wg0", seconds=1)
    async with asyncssh.connect(
        server.host,
        server.port,
        username=server.user,
        client_keys=[str(bench.identity)],
        known_hosts=str(bench.known_hosts),
        config=None,
    ) as connection:
        process = await connection.create_process(request.command, encoding=None)
        process.stdin.write(request.stdin[: len(request.stdin) // 2])
        await process.stdin.drain()
    await gone(bench.node)
