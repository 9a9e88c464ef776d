"""What nodes say over SSH, and what goes wrong on them, against a real OpenSSH server on loopback."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import IO

import pytest

from auditor.errors import GapReason
from auditor.nodes.probe.probe import canonical_table, probe_script
from auditor.nodes.table_store import TableStore
from auditor.nodes.varying import FEW, Varying
from auditor.values.models import NodeId, Observation
from auditor.values.route_table import RouteTable
from tests.nodes.bench import Bench, script_of
from tests.nodes.stubs import key
from tests.parts import require
from tests.parts.cases import case_text
from tests.parts.sshd import Sshd, public


async def test_a_node_is_asked_for_its_digest_and_then_for_the_text_on_one_connection(bench: Bench) -> None:
    server, tables = bench.sshd(), TableStore()
    seen = await bench.nodes(region_command="echo fra").observe(bench.registered(server), tables)
    table = canonical_table(bench.node.device, bench.node.allowed_ips)
    assert seen == Observation(
        NodeId("", "edge-fra-1"),
        bench.node.device,
        table.digest,
        "fra",
        server.fingerprint,
        None,
        digested=True,
    )
    assert tables.tables == {table.digest: table}
    assert server.log().count("Accepted publickey") == 1


async def test_a_table_that_two_nodes_share_is_fetched_once(bench: Bench) -> None:
    server, tables, nodes = bench.sshd(), TableStore(), bench.nodes()
    first, second = await asyncio.gather(
        *(nodes.observe(bench.registered(server, name), tables) for name in ("a", "b"))
    )
    assert first.table == second.table
    assert len(tables.tables) == 1
    assert bench.node.calls.count("wg show wg0 allowed-ips") == 3


async def test_a_table_that_changes_between_digest_and_text_counts_as_it_came(bench: Bench) -> None:
    """And with it the rest of the second answer: an observation is of one moment."""
    folder = bench.node.folder
    script_of(
        bench.node,
        f'if [ -e "{folder}/changed" ]; then exec cat "{folder}/allowed-ips"; fi\n'
        f'touch "{folder}/changed"; head -n 1 "{folder}/allowed-ips"',
    )
    server, tables = bench.sshd(), TableStore()
    seen = await bench.nodes().observe(bench.registered(server), tables)
    table = canonical_table(bench.node.device, bench.node.allowed_ips)
    assert seen.table == table.digest
    assert list(tables.tables) == [table.digest]


async def test_a_node_that_cannot_digest_sends_its_table_and_is_marked(bench: Bench) -> None:
    for hasher in ("sha256sum", "shasum", "openssl"):
        bench.node.script(hasher, "#!/bin/sh\ncat >/dev/null\nexit 1\n")
    seen = await bench.observe(bench.sshd())
    assert seen.digested is False
    assert seen.table == canonical_table(bench.node.device, bench.node.allowed_ips).digest


async def test_endpoints_come_where_they_are_asked_for(bench: Bench) -> None:
    seen = await bench.observe(bench.sshd(), endpoints=True)
    assert seen.endpoints is not None
    assert set(seen.endpoints.values()) == {"198.18.0.2:51820", "198.18.0.3:51820"}


async def test_noise_of_the_login_shell_is_skipped(bench: Bench) -> None:
    home = bench.folder / "home"
    home.mkdir()
    (home / ".bashrc").write_text("echo welcome; printf 'no newline'; echo to stderr >&2\n")
    server = bench.sshd(environment={"PATH": bench.node.path, "HOME": str(home)})
    assert (await bench.observe(server)).device == bench.node.device


async def test_the_script_is_in_no_process_list(bench: Bench) -> None:
    """The command line holds the request's words; the script and the region command go over standard input."""
    folder = bench.node.folder
    listing = f"cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' >{folder}/processes"
    script_of(bench.node, f"{listing}\nexec cat {folder}/allowed-ips")
    await bench.observe(bench.sshd(), region_command="true planted-region-command")
    processes = (bench.node.folder / "processes").read_text()
    assert "wgaudit-probe/1" in processes
    assert "planted-region-command" not in processes
    assert "send_digest" not in processes


async def test_the_reasons_of_the_node_arrive(bench: Bench) -> None:
    server = bench.sshd()
    bench.node.script("wg", "#!/bin/sh\necho 'Unable to access interface: No such device' >&2\nexit 1\n")
    assert (await bench.refused(server)).reason is GapReason.NO_DEVICE
    bench.node.script(
        "wg", "#!/bin/sh\necho 'Unable to access interface: Operation not permitted' >&2\nexit 1\n"
    )
    assert (await bench.refused(server)).reason is GapReason.SUDO
    bench.node.script("wg", "#!/bin/sh\nexit 127\n")
    assert (await bench.refused(server)).reason is GapReason.NO_WG


async def test_sudo_that_wants_a_password_is_sudo(bench: Bench) -> None:
    bench.node.script("sudo", "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    error = await bench.refused(bench.sshd(), sudo=True)
    assert (error.reason, error.detail) == (GapReason.SUDO, "sudo: a password is required")


async def test_a_command_that_hangs_is_command_timeout(bench: Bench) -> None:
    for name in ("alive", "never"):
        os.mkfifo(bench.node.folder / name)
    script_of(bench.node, f'exec 9>"{bench.node.folder}/alive"; read -r x <>"{bench.node.folder}/never"')
    with open_pipe(bench.node.folder / "alive") as pipe:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        error = await bench.refused(bench.sshd(), command_timeout=2.0)
        assert error.reason is GapReason.COMMAND_TIMEOUT
        # sshd may not have ended it (it does not for root): let it go, and see that it went.
        release = os.open(bench.node.folder / "never", os.O_RDWR | os.O_NONBLOCK)
        os.write(release, b"\n")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        os.close(release)
        transport.close()


def open_pipe(file: Path) -> IO[bytes]:
    """For reading, without waiting for a writer."""
    return os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)


@pytest.mark.parametrize("stream", ["1", "2"])
async def test_endless_output_is_cut_off(bench: Bench, stream: str) -> None:
    """On either stream, while it comes: never a whole answer in memory first."""
    server = bench.sshd()
    command = f"while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx >&{stream}; done"
    region = command if stream == "2" else ""
    if stream == "1":
        (bench.folder / "home").mkdir()
        (bench.folder / "home" / ".bashrc").write_text(command + "\n")
        server = bench.sshd(
            "noisy", environment={"PATH": bench.node.path, "HOME": str(bench.folder / "home")}
        )
    error = await bench.refused(server, max_output=100_000, region_command=region)
    assert error.reason is GapReason.OUTPUT_TOO_LARGE


async def test_an_account_without_a_shell_is_auth_with_what_it_said(bench: Bench) -> None:
    server = bench.sshd(lines=["ForceCommand echo 'This account is currently not available.'; exit 1"])
    error = await bench.refused(server)
    assert error.reason is GapReason.AUTH
    assert "not available" in error.detail
    assert "exit 1" in error.detail


async def test_a_command_that_is_killed_is_unreadable_output(bench: Bench) -> None:
    error = await bench.refused(bench.sshd(lines=["ForceCommand kill -9 $$"]))
    assert error.reason is GapReason.UNREADABLE_OUTPUT
    assert "signal KILL" in error.detail


@pytest.mark.parametrize(
    ("command", "detail"),
    [
        ("exit 3", "the region command failed (exit 3)"),
        ("echo no such file >&2; exit 3", "the region command failed (exit 3) (no such file)"),
    ],
)
async def test_an_error_that_the_probe_tells_itself_is_told_with_one_exit_code(
    bench: Bench, command: str, detail: str
) -> None:
    """That of the command; the probe's own is always the same, and would only confuse."""
    error = await bench.refused(bench.sshd(), region_command=command)
    assert (error.reason, error.detail) == (GapReason.UNREADABLE_OUTPUT, detail)


def forced(bench: Bench) -> Sshd:
    file = bench.node.script("wgaudit-probe", probe_script("wg0", False, "echo fra"))
    return bench.sshd(authorized=[f'command="{file}",restrict {public(bench.identity)}'])


async def test_the_installed_probe_answers_like_the_inline_one(bench: Bench) -> None:
    seen = await bench.observe(forced(bench), probe="installed", endpoints=True)
    assert seen.device == bench.node.device
    assert seen.region == "fra"
    assert seen.endpoints is not None


async def test_endpoints_come_with_how_long_ago_the_handshakes_were(bench: Bench) -> None:
    bench.node.answer("latest-handshakes", f"{key(2)}\t{int(time.time()) - 60}\n{key(3)}\t0\n")
    seen = await bench.observe(bench.sshd(), endpoints=True)
    assert seen.handshake_ages is not None
    assert seen.handshake_ages.keys() == {key(2)}
    assert 60 <= seen.handshake_ages[key(2)] < 120


async def test_a_probe_installed_before_handshakes_is_asked_for_endpoints_alone(bench: Bench) -> None:
    """It refuses the first time, and is not asked so again."""
    older = Path(__file__).with_name("probe") / "installed-before-follow"
    file = bench.node.script("wgaudit-probe", older.read_text())
    server = bench.sshd(authorized=[f'command="{file}",restrict {public(bench.identity)}'])
    nodes, tables = bench.nodes(probe="installed", endpoints=True), TableStore()
    seen = [await nodes.observe(bench.registered(server), tables) for _ in range(2)]
    assert [(item.endpoints is not None, item.handshake_ages) for item in seen] == [(True, None)] * 2
    assert server.log().count("Accepted publickey") == 2


def learned(bench: Bench) -> tuple[TableStore, Varying]:
    """A store that has seen a few tables, which differ in the prefixes of the second peer."""
    tables = TableStore()
    bench.node.peers([(number, f"10.0.0.{number}/32") for number in range(2, 20)])
    own = f"{key(2)}\t10.0.0.2/32\n"
    text = canonical_table(bench.node.device, bench.node.allowed_ips).text.decode()
    for number in range(FEW):
        tables.add(RouteTable(text.replace(own, f"{key(2)}\t10.0.1.{number}/32\n").encode()))
    assert tables.varying is not None
    return tables, tables.varying


@pytest.mark.parametrize("probe", ["inline", "installed"])
async def test_a_node_is_asked_for_base_and_difference_once_it_is_known_what_varies(
    bench: Bench, probe: str
) -> None:
    """In one exec, and its table is the one that it has."""
    tables, varying = learned(bench)
    server = forced(bench) if probe == "installed" else bench.sshd()
    seen = await bench.nodes(probe=probe).observe(bench.registered(server), tables)
    table = canonical_table(bench.node.device, bench.node.allowed_ips)
    assert varying.ends == (key(2)[39:43],)
    assert seen.table == table.digest
    assert tables.tables[seen.table] == table
    assert bench.node.calls.count("wg show wg0 allowed-ips") == 1


async def test_a_probe_installed_before_bases_is_asked_for_digest_and_text(bench: Bench) -> None:
    """It refuses the first time, and is not asked so again."""
    tables, _ = learned(bench)
    script = probe_script("wg0", False, "echo fra").replace('"$version base") mode=base ;;', "")
    file = bench.node.script("wgaudit-probe", script)
    server = bench.sshd(authorized=[f'command="{file}",restrict {public(bench.identity)}'])
    nodes = bench.nodes(probe="installed")
    seen = [await nodes.observe(bench.registered(server), tables) for _ in range(2)]
    table = canonical_table(bench.node.device, bench.node.allowed_ips)
    assert [item.table for item in seen] == [table.digest] * 2
    assert tables.tables[table.digest] == table
    assert bench.node.calls.count("wg show wg0 allowed-ips") == 3


async def test_a_forced_key_can_do_nothing_but_probe(bench: Bench) -> None:
    """Another command, the inline probe among them, is refused by the node and says what to set."""
    error = await bench.refused(forced(bench))
    assert error.reason is GapReason.UNREADABLE_OUTPUT
    assert 'ssh.probe must be "installed"' in error.detail
    assert bench.node.calls == []


async def test_an_installed_probe_that_is_not_there_says_what_to_do(bench: Bench) -> None:
    error = await bench.refused(bench.sshd(), probe="installed")
    assert error.reason is GapReason.UNREADABLE_OUTPUT
    assert "wgaudit probe-script" in error.detail


async def test_a_cancelled_look_leaves_no_task_and_no_connection(bench: Bench) -> None:
    """Ctrl-C and the deadline cancel; the jump host's connection must go as well."""
    os.mkfifo(bench.node.folder / "started")
    script_of(bench.node, f'echo >"{bench.node.folder}/started"; exec sleep 5')
    jump, server = bench.sshd("jump"), bench.sshd()
    before = asyncio.all_tasks()
    nodes = bench.nodes(proxy_jump=f"{jump.user}@{jump.host}:{jump.port}")
    look = asyncio.create_task(nodes.observe(bench.registered(server), TableStore()))
    await asyncio.to_thread((bench.node.folder / "started").read_text)
    look.cancel()
    with pytest.raises(asyncio.CancelledError):
        await look
    assert asyncio.all_tasks() == before
    assert open_sockets_to(jump.port) == []
    assert open_sockets_to(server.port) == []


def open_sockets_to(port: int) -> list[str]:
    """This process's own sockets with that remote port."""
    descriptors = [file for file in Path("/proc/self/fd").iterdir() if file.is_symlink()]
    mine = {str(file.readlink()) for file in descriptors}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        row[2] for row in rows if int(row[2].partition(":")[2], 16) == port and f"socket:[{row[9]}]" in mine
    ]


async def test_one_who_gives_up_does_not_take_the_jump_host_from_the_others(bench: Bench) -> None:
    jump, server = bench.sshd("jump"), bench.sshd()
    nodes = bench.nodes(proxy_jump=f"{jump.user}@{jump.host}:{jump.port}")
    first = asyncio.create_task(nodes.observe(bench.registered(server, "a"), TableStore()))
    second = asyncio.create_task(nodes.observe(bench.registered(server, "b"), TableStore()))
    while not nodes._access._connections._jumps:  # noqa: ASYNC110  (each is one turn of the loop)
        await asyncio.sleep(0)
    first.cancel()
    assert (await second).device == bench.node.device
    with pytest.raises(asyncio.CancelledError):
        await first


def home_with(bench: Bench, bashrc: str) -> Sshd:
    """A server whose login shell reads this start-up file."""
    home = bench.folder / "home"
    home.mkdir()
    (home / ".bashrc").write_text(bashrc)
    return bench.sshd(environment={"PATH": bench.node.path, "HOME": str(home)})


async def test_a_start_up_file_that_reads_a_line_takes_nothing_from_the_probe(bench: Bench) -> None:
    server = home_with(bench, case_text("nodes/14-script-head/bashrc-reads-a-line"))
    assert (await bench.observe(server)).device == bench.node.device


@pytest.mark.parametrize("shell", ["zsh", "dash"])
async def test_a_shell_that_takes_over_reads_the_same_script(bench: Bench, shell: str) -> None:
    require(shell, shutil.which(shell) is not None, "tests/parts/install as root on Debian")
    case = case_text("nodes/14-script-head/bashrc-exec-zsh")
    server = home_with(bench, case.replace("zsh", shell))
    assert (await bench.observe(server)).device == bench.node.device


async def test_a_start_up_file_that_reads_more_is_told(bench: Bench) -> None:
    server = home_with(bench, "for i in 1 2 3 4 5 6 7; do read -r answer; done\n")
    error = await bench.refused(server)
    assert error.reason is GapReason.UNREADABLE_OUTPUT
    assert "start-up file" in error.detail
    assert bench.node.calls == []


async def test_a_probe_that_does_not_begin_is_a_stage_of_its_own_and_what_was_printed_is_quoted(
    bench: Bench,
) -> None:
    server = home_with(bench, "echo 'Welcome to \033[31mproduction'; exec sleep 2\n")
    error = await bench.refused(server, command_timeout=0.7)
    assert error.reason is GapReason.PROBE_NOT_BEGUN
    assert "Welcome to" in error.detail


async def test_a_login_without_a_channel_is_a_stage_of_its_own(bench: Bench) -> None:
    server = bench.sshd(lines=["MaxSessions 0"])
    error = await bench.refused(server)
    assert error.reason is GapReason.NO_CHANNEL


async def test_a_server_with_one_session_is_seen_with_its_own_table(bench: Bench) -> None:
    """sshd refuses a second channel right behind the close of the first."""
    server = bench.sshd(lines=[case_text("nodes/01-maxsessions/sshd_config").strip()])
    for _ in range(5):
        tables = TableStore()
        seen = await bench.nodes().observe(bench.registered(server), tables)
        assert seen.table in tables.tables


async def test_tables_that_are_spelled_otherwise_are_fetched_once_and_kept_canonical(bench: Bench) -> None:
    bench.node.peers([(2, "2001:db8:1::211:22ff:fe33:4455/128"), (3, "FDAA::3/128")])
    server, tables, nodes = bench.sshd(), TableStore(), bench.nodes()
    first = await nodes.observe(bench.registered(server, "a"), tables)
    asked = bench.node.calls.count("wg show wg0 allowed-ips")
    second = await nodes.observe(bench.registered(server, "b"), tables)
    assert bench.node.calls.count("wg show wg0 allowed-ips") == asked + 1
    bench.node.peers([(2, "2001:db8:1:0:211:22ff:fe33:4455/128"), (3, "fdaa::3/128")])
    third = await nodes.observe(bench.registered(server, "c"), tables)
    assert first.table == second.table == third.table
    assert len(tables.tables) == 1
