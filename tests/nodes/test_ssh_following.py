"""Followed nodes behind a real sshd: what they say by themselves, and what is left there when nobody listens."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.errors import GapReason, ProbeError
from auditor.gather.collector import Assignment, Heard
from auditor.gather.following import LocalFollower
from auditor.nodes.probe.probe import canonical_table, probe_script
from auditor.nodes.ssh import SshNodes
from auditor.nodes.table_store import TableStore
from auditor.values.models import Observation
from auditor.values.route_table import RouteTable
from tests.nodes.bench import Bench
from tests.nodes.probe.test_probe_ends import gone, left_over
from tests.nodes.stubs import key
from tests.parts.sshd import Sshd, public

Said = Observation | ProbeError | None
Stream = AsyncGenerator[Said, None]

TWO, ONE = ((2, "10.0.0.2/32"), (3, "10.0.0.3/32")), ((2, "10.0.0.2/32"),)


@asynccontextmanager
async def followed(
    bench: Bench,
    server: Sshd,
    tables: TableStore | None = None,
    nodes: SshNodes | None = None,
    **settings: object,
) -> AsyncIterator[Stream]:
    """The stream of the bench's node, which looks at itself each second."""
    source = nodes or bench.nodes(**settings)  # type: ignore[arg-type]
    stream = source.follow(bench.registered(server), tables or TableStore(), 1.0)
    async with aclosing(stream):
        yield stream


async def word(stream: Stream) -> Said:
    async with asyncio.timeout(15):
        return await anext(stream)


async def observed(stream: Stream) -> Observation:
    said = await word(stream)
    assert isinstance(said, Observation), said
    return said


async def the_end(stream: Stream) -> GapReason:
    """Why it ends, after whatever it says before."""
    try:
        while True:
            await word(stream)
    except ProbeError as error:
        return error.reason


async def news(stream: Stream) -> Observation | ProbeError:
    """The next that is no beat."""
    while (said := await word(stream)) is None:
        pass
    return said


def table_of(bench: Bench) -> str:
    return canonical_table(bench.node.device, bench.node.allowed_ips).digest


@pytest.mark.parametrize("probe", ["inline", "installed"])
async def test_a_change_is_told_within_the_interval_and_confirmed_at_once(bench: Bench, probe: str) -> None:
    settings: dict[str, object] = {}
    authorized = public(bench.identity)
    if probe == "installed":
        file = bench.node.script("wgaudit-probe", probe_script("wg0", False, ""))
        authorized = f'command="{file}",restrict {authorized}'
        settings["probe"] = "installed"
    server, tables = bench.sshd(authorized=[authorized]), TableStore()
    async with followed(bench, server, tables, **settings) as stream:
        first = await observed(stream)
        assert (first.table, first.host_key, first.device) == (
            table_of(bench),
            server.fingerprint,
            bench.node.device,
        )
        assert await word(stream) is None
        bench.node.peers(ONE)
        loop = asyncio.get_running_loop()
        changed_at = loop.time()
        second = await observed(stream)
        assert second.table == table_of(bench) != first.table
        assert await word(stream) is None
        # A machine that is busy takes its time; a beat would come after 30 s.
        assert loop.time() - changed_at < 15
    assert set(tables.tables) == {first.table, second.table}
    assert server.log().count("Accepted publickey") == 1
    await gone(bench.node)


async def test_what_holds_still_is_a_beat(bench: Bench) -> None:
    async with followed(bench, bench.sshd(), nodes=bench.nodes(beat=1.0)) as stream:
        await observed(stream)
        assert [await word(stream) for _ in range(3)] == [None] * 3


async def test_a_device_that_goes_and_comes_back_is_an_error_and_then_a_state_on_one_connection(
    bench: Bench,
) -> None:
    server = bench.sshd()
    async with followed(bench, server) as stream:
        first = await observed(stream)
        (bench.node.folder / "wg").rename(bench.node.folder / "well")
        bench.node.script("wg", "#!/bin/sh\necho 'Unable to access interface: No such device' >&2\nexit 1\n")
        said = await news(stream)
        assert isinstance(said, ProbeError)
        assert said.reason is GapReason.NO_DEVICE
        (bench.node.folder / "well").rename(bench.node.folder / "wg")
        assert await news(stream) == first
    assert server.log().count("Accepted publickey") == 1


class GoneWhileAsked(TableStore):
    """A store in whose first fetch the node's device is gone."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self._folder = bench.node.folder
        self._bench = bench

    async def obtain(self, digest: str, fetch: Callable[[], Awaitable[RouteTable | str]]) -> str:
        async def gone_meanwhile() -> RouteTable | str:
            well = self._folder / "well"
            if well.exists():
                return await fetch()
            (self._folder / "wg").rename(well)
            self._bench.node.script(
                "wg", "#!/bin/sh\necho 'Unable to access interface: No such device' >&2\nexit 1\n"
            )
            try:
                return await fetch()
            finally:
                (self._folder / "wg").write_bytes(well.read_bytes())

        return await super().obtain(digest, gone_meanwhile)


async def test_a_device_that_is_gone_when_its_table_is_asked_for_ends_no_session(bench: Bench) -> None:
    server = bench.sshd()
    async with followed(bench, server, GoneWhileAsked(bench)) as stream:
        said = await word(stream)
        assert isinstance(said, ProbeError)
        assert said.reason is GapReason.NO_DEVICE
        seen = await news(stream)
        while isinstance(seen, ProbeError):  # its own look may have met the same
            seen = await news(stream)
        assert seen.table == table_of(bench)
    assert server.log().count("Accepted publickey") == 1


async def test_a_server_that_runs_one_command_at_a_time_gives_its_table_all_the_same(bench: Bench) -> None:
    server, tables = bench.sshd(lines=["MaxSessions 1"]), TableStore()
    async with followed(bench, server, tables) as stream:
        await observed(stream)
        assert await word(stream) is None
        bench.node.peers(ONE)
        said = await news(stream)
        assert isinstance(said, Observation)
        assert said.table == table_of(bench)
        assert said.table in tables.tables
    assert server.log().count("Accepted publickey") == 1


async def test_the_server_is_checked_as_for_a_look(bench: Bench) -> None:
    server = bench.sshd(known=False)
    with pytest.raises(ProbeError) as caught:
        async with followed(bench, server) as stream:
            await word(stream)
    assert caught.value.reason is GapReason.HOST_KEY


@pytest.mark.parametrize("sudo", [False, True])
@pytest.mark.parametrize("end", ["closed", "cut", "listener and session killed"])
async def test_it_ends_with_its_connection_though_nothing_is_written(
    bench: Bench, end: str, sudo: bool
) -> None:
    bench.node.script("sudo", '#!/bin/sh\nshift\nexec setsid -w "$@"\n')
    server = bench.sshd()
    async with followed(bench, server, sudo=sudo) as stream:
        await observed(stream)
        assert await word(stream) is None
        assert left_over(bench.node)
        if end != "closed":
            assert server._process is not None
            sessions = servers_below(server._process.pid)
            assert sessions
            if end != "cut":
                server._process.send_signal(signal.SIGKILL)
            for session in sessions:
                os.kill(session, signal.SIGKILL)
            assert await the_end(stream) is GapReason.CONNECTION_LOST
    await gone(bench.node)


def servers_below(parent: int) -> list[int]:
    """Processes of sshd that this one started, and those that these started: newer ones keep one for the login."""
    found = []
    for number in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if Path(f"/proc/{number}/comm").read_text().startswith("sshd"):
            found += [int(number), *servers_below(int(number))]
    return found


async def test_a_node_that_stalls_is_silent_after_three_beats_and_is_left_clean(bench: Bench) -> None:
    """Its shell is stopped, and its sshd is well."""
    async with followed(bench, bench.sshd(), nodes=bench.nodes(beat=0.2)) as stream:
        await observed(stream)
        assert await word(stream) is None
        (shell,) = [process for process in left_over(bench.node) if os.getsid(process) == process]
        os.kill(shell, signal.SIGSTOP)
        assert await the_end(stream) is GapReason.SILENT
    await gone(bench.node)


async def test_a_node_without_a_digest_program_cannot_be_followed(bench: Bench) -> None:
    tools = bench.folder / "tools"
    tools.mkdir()
    for tool in ("sh", "cat", "awk", "sort", "head", "sleep", "grep", "sed"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    server = bench.sshd(environment={"PATH": f"{bench.node.folder}:{tools}"})
    if shutil.which("sha256sum", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"):
        for hasher in ("sha256sum", "shasum", "openssl"):
            bench.node.script(hasher, "#!/bin/sh\ncat >/dev/null\nexit 1\n")
    with pytest.raises(ProbeError) as caught:
        async with followed(bench, server) as stream:
            await word(stream)
    assert caught.value.reason is GapReason.CANNOT_FOLLOW


BEFORE = Path(__file__).parent / "probe" / "installed-before-follow"
"""What `wgaudit probe-script` printed before probes could follow."""


async def test_a_node_with_an_older_installed_probe_cannot_be_followed_and_is_looked_at(bench: Bench) -> None:
    """Each round, by the follower; its answers are whole."""
    file = bench.node.script("wgaudit-probe", BEFORE.read_text())
    server = bench.sshd(authorized=[f'command="{file}",restrict {public(bench.identity)}'])
    nodes = bench.nodes(probe="installed")
    stream = nodes.follow(bench.registered(server), TableStore(), 1.0)
    with pytest.raises(ProbeError, match="older probe") as caught:
        await word(stream)
    assert caught.value.reason is GapReason.CANNOT_FOLLOW
    follower = LocalFollower(nodes, 1.0)
    follower.assign(assignment(bench, server))
    async with aclosing(follower.follow(TableStore())) as heard:
        first, second = await news_of(heard), await news_of(heard)
        assert isinstance(first.seen, Observation)
        assert (first.seen.table, first.followed) == (table_of(bench), False)
        assert (second.seen, second.followed) == (None, False)
        bench.node.peers(ONE)
        follower.look_again()
        third = await news_of(heard)
        assert isinstance(third.seen, Observation)
        assert third.seen.table == table_of(bench)


def assignment(bench: Bench, server: Sshd) -> Assignment:
    registered = bench.registered(server)
    return Assignment((registered,), (registered,))


async def news_of(stream: AsyncGenerator[Heard, None]) -> Heard:
    async with asyncio.timeout(20):
        return await anext(stream)


async def test_more_nodes_than_may_pass_a_jump_host_at_one_time_are_followed_through_it(bench: Bench) -> None:
    """A session that stays holds no turn there."""
    bastion, server = bench.sshd("bastion"), bench.sshd()
    nodes = bench.nodes(proxy_jump=f"{bastion.user}@{bastion.host}:{bastion.port}", per_jump=1)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            stream = nodes.follow(bench.registered(server), TableStore(), 1.0)
            await observed(await stack.enter_async_context(aclosing(stream)))
    assert bastion.log().count("Accepted publickey") == 1


async def test_a_followed_node_tells_whom_it_meets_where_on_its_session(bench: Bench) -> None:
    """No further login; how long ago, too."""
    server, nodes = bench.sshd(), bench.nodes()
    bench.node.answer("latest-handshakes", f"{key(2)}\t{int(time.time())}\n{key(3)}\t0\n")
    registration = replace(bench.registered(server), public_key=bench.node.key)
    async with aclosing(nodes.follow(registration, TableStore(), 1.0)) as stream:
        await observed(stream)
        met = await nodes.meet(registration)
        with pytest.raises(ProbeError) as caught:
            await nodes.meet(replace(registration, public_key=key(9)))
    assert met.endpoints == {key(2): "198.18.0.2:51820", key(3): "198.18.0.3:51820"}
    assert met.handshake_ages.keys() == {key(2)}
    assert caught.value.reason is GapReason.WRONG_HOST
    assert server.log().count("Accepted publickey") == 1
    with pytest.raises(ProbeError, match="no session"):
        await nodes.meet(registration)
