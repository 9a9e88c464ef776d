"""The demo's SSH servers, asked by a plain client and by OpenSSH's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from auditor.demo.demo_fleet import DEVICE, FEWEST_NODES, DemoFleet, DemoNode, build_fleet
from auditor.demo.node_programs import rooted, unrooted
from auditor.demo.servers import ServedFleet, serve
from auditor.errors import ProbeError
from auditor.nodes.change.changes import (
    AddAddress,
    Change,
    DeviceState,
    DropAddress,
    RewriteFiles,
    SetPeer,
)
from auditor.nodes.change.repair_script import change_request, parse_repair
from auditor.nodes.probe.probe import (
    FRAMING,
    WORDS,
    Mode,
    canonical_table,
    follow_request,
    inline_request,
    parse_answer,
    parse_followed,
)
from auditor.values.addresses import parse_prefix
from auditor.values.models import Device
from tests.parts import program_path

FLEET: DemoFleet = build_fleet(FEWEST_NODES)
NODE = next(node for node in FLEET.nodes if node.reachable)
MODES: tuple[Mode, ...] = ("digest", "text")
OTHER = next(node for node in FLEET.nodes if node.reachable and node is not NODE)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ServedFleet]:
    async with serve(FLEET, tmp_path, sessions=8) as fleet:
        yield fleet


@contextlib.asynccontextmanager
async def connect(
    served: ServedFleet, name: str, **options: object
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    host, _, port = served.ssh_hosts[name].partition(":")
    chosen = {"client_keys": [str(served.client_key)], "known_hosts": str(served.known_hosts)} | options
    connection = await asyncssh.connect(
        host, int(port), username="root", config=None, agent_path=None, **chosen
    )
    async with connection:
        yield connection


async def ask(
    served: ServedFleet, name: str, command: str, text: str | None = None
) -> asyncssh.SSHCompletedProcess:
    async with connect(served, name) as connection:
        return await connection.run(command, input=text)


async def test_each_node_prints_its_own_key_allowed_ips_endpoints_and_addresses(served: ServedFleet) -> None:
    for node in (NODE, OTHER):
        table = FLEET.peer_table(node)
        async with connect(served, node.name) as connection:
            for command, expected in (
                ("wg show wg0 public-key", f"{node.public_key}\n"),
                ("wg show wg0 allowed-ips", table.allowed_ips()),
                ("wg show wg0 endpoints", FLEET.endpoints(table)),
                ("cat region", f"{node.region}\n"),
            ):
                answer = await connection.run(command, check=True)
                assert (answer.stdout, answer.stderr) == (expected, "")
            for command in ("ip -o addr show dev wg0", "ip -j addr show dev wg0"):
                answer = await connection.run(command, check=True)
                assert node.device_address.removesuffix("/32") in str(answer.stdout)


async def test_the_real_probe_reads_each_nodes_whole_state(served: ServedFleet) -> None:
    """The script that travels to real nodes runs here unchanged, over standard input."""
    for node in FLEET.nodes:
        if not node.reachable:
            continue
        for mode in MODES:
            request = inline_request(mode, device=DEVICE, endpoints=True, region_command="cat region")
            async with connect(served, node.name) as connection:
                answer = await connection.run(request.command, input=request.stdin, encoding=None)
            assert answer.stderr == b""
            assert isinstance(answer.stdout, bytes)
            read = parse_answer(answer.stdout, DEVICE)
            table = FLEET.peer_table(node)
            expected = canonical_table(read.device, table.allowed_ips())
            assert read.device == Device(DEVICE, node.public_key, (node.device_address,))
            assert read.region == node.region
            assert read.endpoints == {
                peer.public_key: peer.endpoint for peer in FLEET.nodes if peer is not node
            }
            assert (read.digest, read.table) == (
                (expected.digest, None) if mode == "digest" else (None, expected)
            )


async def test_more_nodes_than_there_are_places_are_followed_and_what_runs_there_ends_with_the_client(
    served: ServedFleet, tmp_path: Path
) -> None:
    """A look at a node is answered meanwhile."""
    names = [node.name for node in FLEET.nodes if node.reachable]
    assert len(names) >= 8
    request = follow_request(device=DEVICE, interval=1)
    async with contextlib.AsyncExitStack() as stack:
        for name in names:
            connection = await stack.enter_async_context(connect(served, name))
            process = await connection.create_process(request.command, encoding=None)
            process.stdin.write(request.stdin)
            parser = FRAMING.stream(WORDS, 100_000)
            said: list[bytes | str | ProbeError] = []
            async with asyncio.timeout(20):
                while len(said) < 2:
                    said += parser.feed(await process.stdout.read(65536))
            assert isinstance(said[0], bytes)
            assert parse_followed(said[0], DEVICE).digest
            assert said[1] == "beat"
        assert (await ask(served, NODE.name, "wg show wg0 public-key")).exit_status == 0
        assert running(tmp_path)
    async with asyncio.timeout(10):
        while running(tmp_path):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def running(folder: Path) -> list[str]:
    """Processes of nodes whose state is in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"WGAUDIT_DEMO_NODE={folder}".encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize("command", ["wg show wg0 dump", "wg show all dump", "wg showconf wg0"])
async def test_what_would_print_private_keys_is_an_error(served: ServedFleet, command: str) -> None:
    answer = await ask(served, NODE.name, command)
    assert answer.exit_status == 1
    assert answer.stdout == ""


@pytest.mark.parametrize("command", ["wg show wg7 public-key", "ip -o addr show dev wg7"])
async def test_another_device_does_not_exist(served: ServedFleet, command: str) -> None:
    answer = await ask(served, NODE.name, command)
    assert answer.exit_status == 1
    assert answer.stdout == ""
    assert answer.stderr


async def test_a_script_on_standard_input_runs_with_its_arguments(served: ServedFleet) -> None:
    script = 'echo "$1:$(wg show wg0 public-key)"; echo trouble >&2; exit 7\n'
    answer = await ask(served, NODE.name, "exec /bin/sh -s -- first", script)
    assert answer.stdout == f"first:{NODE.public_key}\n"
    assert (answer.stderr, answer.exit_status) == ("trouble\n", 7)


async def test_large_input_and_output_pass_whole(served: ServedFleet) -> None:
    text = "0123456789abcdef" * 65_536
    answer = await ask(served, NODE.name, "cat", text)
    assert answer.stdout == text


async def test_a_command_may_end_without_reading_its_input(served: ServedFleet) -> None:
    answer = await ask(served, NODE.name, "exit 3", "x" * 4_000_000)
    assert answer.exit_status == 3


async def test_a_command_ended_by_a_signal_says_so_as_a_shell_does(served: ServedFleet) -> None:
    answer = await ask(served, NODE.name, "kill -TERM $$")
    assert answer.exit_status == 128 + 15


async def test_there_is_no_login_shell(served: ServedFleet) -> None:
    async with connect(served, NODE.name) as connection:
        answer = await connection.run()
    assert answer.exit_status == 1
    assert "no login shell" in str(answer.stderr)


async def test_another_client_key_is_refused(served: ServedFleet) -> None:
    """The servers run what they are told: nobody but this run may tell them anything."""
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    with pytest.raises(asyncssh.PermissionDenied):
        async with connect(served, NODE.name, client_keys=[stranger]):
            pass


async def test_no_forwarding_is_offered(served: ServedFleet) -> None:
    host, _, port = served.ssh_hosts[OTHER.name].partition(":")
    async with connect(served, NODE.name) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection(host, int(port))


async def test_one_nodes_host_key_is_not_anothers(served: ServedFleet, tmp_path: Path) -> None:
    """Strict host keys: a known_hosts file with the lines of two nodes swapped must not pass."""
    keys = {
        line.split()[0]: line.split(maxsplit=1)[1] for line in served.known_hosts.read_text().splitlines()
    }
    assert len(set(keys.values())) == FEWEST_NODES
    here, there = ("[{}]:{}".format(*served.ssh_hosts[node.name].split(":")) for node in (NODE, OTHER))
    swapped = tmp_path / "swapped"
    swapped.write_text(f"{here} {keys[there]}\n{there} {keys[here]}\n")
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        async with connect(served, NODE.name, known_hosts=str(swapped)):
            pass


async def test_the_unreachable_nodes_port_refuses(served: ServedFleet) -> None:
    assert FLEET.incident is not None
    with pytest.raises(ConnectionRefusedError):
        async with connect(served, FLEET.incident.unreachable):
            pass


async def test_every_server_binds_loopback_only(served: ServedFleet) -> None:
    assert {host.partition(":")[0] for host in served.ssh_hosts.values()} == {"127.0.0.1"}
    assert len(set(served.ssh_hosts.values())) == FEWEST_NODES


def modes(folder: Path) -> dict[Path, int]:
    return {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if not path.is_symlink()}


async def test_files_are_for_their_owner_alone(served: ServedFleet, tmp_path: Path) -> None:
    found = modes(tmp_path)
    assert served.client_key in found
    assert {path for path, mode in found.items() if mode & 0o077} == set()


async def test_no_more_commands_run_at_a_time_than_there_is_room_for(tmp_path: Path) -> None:
    """The second command begins only when the first one has ended."""
    async with serve(FLEET, tmp_path, sessions=1) as served:
        log = tmp_path / "log"
        command = f"echo begin >> {log}; cat > /dev/null; echo end >> {log}"
        await asyncio.gather(*(ask(served, NODE.name, command, "\n") for _ in range(4)))
        assert log.read_text().split() == ["begin", "end"] * 4


async def ended(pid: int) -> None:
    """Waits for the end of a process that is not our child; fails after five seconds."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process, event.set)
    try:
        await asyncio.wait_for(event.wait(), 5)
    finally:
        loop.remove_reader(process)
        os.close(process)


async def test_a_client_that_goes_away_takes_its_command_with_it(served: ServedFleet) -> None:
    async with connect(served, NODE.name) as connection:
        process = await connection.create_process("sleep 600 & echo $!; wait")
        pid = int(await process.stdout.readline())
    await ended(pid)


async def test_leaving_ends_every_command_and_frees_every_port(tmp_path: Path) -> None:
    """Whatever is going on: nothing that was started stays behind."""
    async with serve(FLEET, tmp_path, sessions=8) as served:
        visit = connect(served, NODE.name)
        connection = await visit.__aenter__()
        process = await connection.create_process("sleep 600 & echo $!; wait")
        pid = int(await process.stdout.readline())
    await ended(pid)
    await asyncio.wait_for(connection.wait_closed(), 5)
    await visit.__aexit__(None, None, None)
    with pytest.raises(ConnectionRefusedError):
        async with connect(served, OTHER.name):
            pass


async def test_openssh_reaches_a_node_with_strict_host_keys(served: ServedFleet) -> None:
    ssh = program_path("ssh")
    host, _, port = served.ssh_hosts[NODE.name].partition(":")
    options = [
        "-F",
        "none",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "IdentitiesOnly=yes",
    ]
    options += ["-o", f"UserKnownHostsFile={served.known_hosts}", "-i", str(served.client_key), "-p", port]
    child = await asyncio.create_subprocess_exec(
        ssh, *options, f"root@{host}", "wg show wg0 public-key", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    assert (output.decode(), child.returncode) == (f"{NODE.public_key}\n", 0)


# -- changes


async def change(served: ServedFleet, node: DemoNode, asked: Change) -> DeviceState:
    """Make a change with the script that travels to real nodes."""
    request = change_request(DEVICE, node.public_key, asked)
    async with connect(served, node.name) as connection:
        answer = await connection.run(
            request.request.command, input=request.request.stdin, encoding=None, check=False
        )
    assert isinstance(answer.stdout, bytes)
    return parse_repair(answer.stdout, request)


async def test_a_node_moves_to_another_address_by_the_real_script_within_its_own_files(
    served: ServedFleet, tmp_path: Path
) -> None:
    old, new = NODE.device_address, parse_prefix("10.200.0.9")
    state = tmp_path / "nodes" / NODE.name
    assert (await change(served, NODE, AddAddress(new, like=old))).addresses == (old, new)
    written = await change(served, NODE, RewriteFiles(old, new))
    assert written.files == ("/etc/wireguard/wg0.conf",)
    assert "Address = 10.200.0.9/8\n" in (state / "etc/wireguard/wg0.conf").read_text()
    # The old address is the subnet's first: the script has the kernel promote the other, and the route follows it.
    assert (await change(served, NODE, DropAddress(old, keep=new))).addresses == (new,)
    assert (state / "route-source").read_text() == "10.200.0.9\n"
    assert (await ask(served, NODE.name, "ip -j addr show dev wg0")).stdout.count('"local"') == 1


async def test_a_prefix_that_is_set_on_one_peer_is_taken_from_another(served: ServedFleet) -> None:
    held = FLEET.peer_table(NODE).peers
    one, other = [node for node in FLEET.nodes if held.get(node.public_key) and node is not OTHER][:2]
    [prefix] = held[other.public_key]
    await change(served, NODE, SetPeer(one.public_key, (prefix,)))
    answer = await ask(served, NODE.name, "wg show wg0 allowed-ips")
    assert f"{one.public_key}\t{prefix}\n" in str(answer.stdout)
    assert f"{other.public_key}\t(none)\n" in str(answer.stdout)
    # Its twin on another node is as it was.
    assert (await ask(served, OTHER.name, "wg show wg0 allowed-ips")).stdout == FLEET.peer_table(
        OTHER
    ).allowed_ips()


async def test_a_change_of_another_nodes_device_is_refused(served: ServedFleet) -> None:
    request = change_request(DEVICE, OTHER.public_key, SetPeer(NODE.public_key, ()))
    answer = await ask(served, NODE.name, request.request.command, request.request.stdin.decode())
    assert "error wrong-host" in str(answer.stdout)


def test_the_script_that_changes_nodes_keeps_to_the_folder_that_it_runs_in() -> None:
    """On the demo's machine it may run as root: no path of it leads to that machine's own files."""
    sent = change_request(
        DEVICE, NODE.public_key, RewriteFiles(NODE.device_address, parse_prefix("10.200.0.9"))
    )
    script = rooted(sent.request.stdin)
    absolute = re.findall(rb"(?<![A-Za-z0-9_.])/[a-z][a-z0-9]*(?:/[a-z0-9]+)?", script)
    assert set(absolute) <= {b"/dev/null"}
    assert b'"./etc/wireguard/$device.conf"' in script
    assert unrooted(rooted(b"/etc/wireguard/wg0.conf")) == b"/etc/wireguard/wg0.conf"
