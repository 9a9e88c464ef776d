"""What blocks in a thread never holds the program up: not its deadline, not Ctrl-C, not its end."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from auditor.service import threads
from auditor.service.threads import DaemonThreads
from tests.cli.command import WGAUDIT
from tests.parts import require
from tests.registry.scripted_server import Scripted, scripted_server

_PATIENCE = 60.0  # seconds for a run that ends in one or two; what it waits for would take far longer

# Run inside namespaces: a nameserver that takes a question and answers nothing, and then a command.
_SILENT_NAMESERVER = textwrap.dedent("""
    import json, os, socket, subprocess, sys
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
        server.setblocking(False)
        asked = len(server.recv(512))  # raises, if nobody asked
    json.dump({"code": done.returncode, "stdout": done.stdout, "stderr": done.stderr, "asked": asked}, sys.stdout)
""")


def test_a_call_in_a_thread_gives_its_result() -> None:
    assert threads.run(asyncio.to_thread(lambda: 7)) == 7


def test_an_error_in_a_thread_reaches_whoever_waits_for_it() -> None:
    def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        threads.run(asyncio.to_thread(fails))


def test_the_end_does_not_wait_for_a_call_under_way() -> None:
    """The call is still under way when `run` has returned."""
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def blocks() -> None:
        began.set()
        may_end.wait()
        ended.set()

    async def leaves_it_behind() -> str:
        asyncio.get_running_loop().run_in_executor(None, blocks)
        await asyncio.to_thread(began.wait)
        return "over"

    assert threads.run(leaves_it_behind()) == "over"
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(_PATIENCE)


def test_no_more_threads_run_than_are_allowed_and_the_others_wait_their_turn() -> None:
    """Two at once of five; all of them run in the end."""
    executor = DaemonThreads(2)
    both, may_end = threading.Barrier(3), threading.Event()
    lock, now, most = threading.Lock(), 0, 0

    def blocks(first: bool) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        if first:
            both.wait(_PATIENCE)
        may_end.wait(_PATIENCE)
        with lock:
            now -= 1

    calls = [executor.submit(blocks, number < 2) for number in range(5)]
    both.wait(_PATIENCE)
    assert [call.running() for call in calls] == [True, True, False, False, False]
    may_end.set()
    for call in calls:
        call.result(_PATIENCE)
    assert most == 2
    executor.shutdown()


def test_what_has_not_begun_at_the_end_never_does() -> None:
    executor = DaemonThreads(1)
    began, may_end = threading.Event(), threading.Event()

    def blocks() -> bool:
        began.set()
        return may_end.wait()

    first, second = executor.submit(blocks), executor.submit(blocks)
    assert began.wait(_PATIENCE)
    executor.shutdown()
    may_end.set()
    assert first.result(_PATIENCE)
    assert second.cancelled()
    with pytest.raises(RuntimeError, match="after a shutdown"):
        executor.submit(blocks)


def _configured(folder: Path, consul: str) -> dict[str, str]:
    """Writes a configuration; the environment that a run in `folder` has."""
    (folder / "known_hosts").touch()
    (folder / "wgaudit.toml").write_text(
        f"[consul]\n{consul}\n[ssh]\nagent = false\nknown_hosts = '{folder}/known_hosts'\n"
    )
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONWARNINGS": "error"}


def _hangs(script: Scripted) -> threading.Event:
    """Makes the server take a request and answer nothing; the event says that one came."""
    came = threading.Event()

    def never(_request: BaseHTTPRequestHandler) -> None:
        came.set()
        script.closing.wait()

    script.write = never
    return came


@pytest.mark.parametrize("ends_by", ["deadline", "Ctrl-C"])
def test_a_consul_that_does_not_answer_holds_up_neither_deadline_nor_ctrl_c(
    tmp_path: Path, ends_by: str
) -> None:
    """The sweep ends and reports while its read, which may take an hour, is still open."""
    with scripted_server() as script:
        came = _hangs(script)
        environment = _configured(tmp_path, f"url = '{script.url}'\ntimeout = 3600.0")
        limit = ("--deadline", "1") if ends_by == "deadline" else ()
        with subprocess.Popen(
            [WGAUDIT, "sweep", "--format", "json", *limit],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as sweep:
            try:
                assert came.wait(_PATIENCE)
                if ends_by != "deadline":
                    sweep.send_signal(signal.SIGINT)
                stdout, stderr = sweep.communicate(timeout=_PATIENCE)
            finally:
                sweep.kill()
    assert sweep.returncode == 3, stderr
    assert json.loads(stdout)["cut_short"] == ("deadline" if ends_by == "deadline" else "interrupted")


def test_a_nameserver_that_does_not_answer_does_not_hold_up_the_deadline(tmp_path: Path) -> None:
    """The resolver's patience is three minutes here; the report comes after one second, whole."""
    require("a network namespace", os.geteuid() == 0, "run as root: the test makes namespaces")
    record = {
        "public_key": base64.b64encode(bytes(32)).decode(),
        "ip": "10.20.0.11",
        "ssh_host": "node.example",
    }
    value = base64.b64encode(json.dumps(record).encode()).decode()
    (tmp_path / "export.json").write_text(json.dumps([{"key": "wireguard/nodes/edge-fra-1", "value": value}]))
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
    (tmp_path / "silent.py").write_text(_SILENT_NAMESERVER)
    environment = _configured(tmp_path, f"file = '{tmp_path}/export.json'")
    inside = 'ip link set lo up && mount --bind resolv.conf /etc/resolv.conf && exec "$@"'
    done = subprocess.run(
        [
            *("unshare", "--net", "--mount", "--kill-child", "--fork", "sh", "-c", inside, "sh"),
            *(sys.executable, "silent.py"),
            *(str(WGAUDIT), "sweep", "--format", "json", "--deadline", "1"),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sweep = json.loads(done.stdout)
    assert sweep["code"] == 3, sweep["stderr"]
    report = json.loads(sweep["stdout"])
    assert report["cut_short"] == "deadline"
    assert ("edge-fra-1", "cut-short") in {(gap["node"], gap["reason"]) for gap in report["gaps"]}
