"""Brings a topology up as a real mesh inside namespaces of its own, sweeps it, and takes all of it down."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from tests.lab import answers, files
from tests.lab.namespace import network_of
from tests.lab.nats_servers import nats_servers
from tests.lab.needs import WGAUDIT
from tests.lab.processes import end, opened, reap
from tests.lab.sweeps import Sweep, finish, forked
from tests.lab.topology import PREFIX, Node, Topology, host
from tests.parts.consul import ConsulServer
from tests.parts.consul_cluster import ConsulCluster
from tests.parts.nats import NatsServer
from tests.parts.sshd import unpunished

_HERE = Path(__file__).resolve().parent
_STEP = 60.0  # seconds that one step of the way up may take before it counts as stuck


class LabError(Exception):
    """The lab could not be brought up, or something in it did not answer; the text says what."""


class Lab:
    """One topology, up. A context manager; leaving it ends every process and namespace that it made.

    All processes but Consul and NATS live in one PID namespace: it ends when this process closes its end of a
    pipe, so they end too if this process dies; those two do so by `with_parent`. The machine's own network is never
    touched.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.folder = Path()
        self.consuls: dict[str, ConsulServer] = {}
        self.cluster: ConsulCluster | None = None
        """All servers of dc1, where they are several; the one in `consuls` did not lead at first."""
        self.nats: dict[str, NatsServer] = {}
        """The NATS server of each node that has one."""
        self._agents: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = contextlib.ExitStack()
        self._answering = False
        self.control_pid = 0

    def __enter__(self) -> Lab:
        try:
            self._up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    # the way up

    def _up(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="wgaudit-lab-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._write_files()
        self._start_control()
        starting = {node.label: self._start_node(node) for node in self.topology.nodes}
        self._start_consuls()
        for label, process in starting.items():
            if process.wait(_STEP):
                raise LabError(f"node {label} did not come up:\n{self._log(label)}")
        self.nats = self._stack.enter_context(nats_servers(self.topology, self.folder, self.networks()))
        self._connect_peers()
        self._register()
        self._write_config()
        if self.topology.agents:
            for node in self.topology.nodes:
                self.start_agent(node.label)

    def _write_files(self) -> None:
        for name, text in files.client(self.topology).items():
            self.write(name, text)
        for node in self.topology.nodes:
            folder = self.node_folder(node.label)
            folder.mkdir(mode=0o700)
            for name in (files.WG_QUICK, files.NETWORKD):
                (folder / name).mkdir(mode=0o755)
            for name, text in files.server(self.topology, node, folder, unpunished()).items():
                self.write(f"{folder.name}/{name}", text)
            (folder / files.HOLD).chmod(0o755)
            for name in (files.REACHED, files.GO_ON):
                os.mkfifo(folder / name)

    def _start_control(self) -> None:
        count = len(self.topology.datacenters) + self.topology.consul_servers - 1
        addresses = [self._control_address(index) for index in range(count)]
        log = self._stack.enter_context((self.folder / "control.log").open("wb"))
        process = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"),
                *("sh", str(_HERE / "control.sh"), *addresses),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for us; we then take the lab down in order
        )
        self._stack.callback(end, process)
        assert process.stdout is not None
        line = process.stdout.readline()
        process.stdout.close()
        if not line:
            raise LabError(f"no control namespace:\n{(self.folder / 'control.log').read_text()}")
        self.control_pid = int(line)

    def _start_node(self, node: Node) -> subprocess.Popen[bytes]:
        folder = self.node_folder(node.label)
        with (folder / "node.log").open("wb") as log:
            process = subprocess.Popen(
                [
                    *self._inside,
                    *("unshare", "--net", "--mount", "sh", str(_HERE / "node.sh"), str(folder)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._stack.callback(reap, process)
        return process

    def _start_consuls(self) -> None:
        acl = bool(self.topology.readable)
        if self.topology.consul_servers > 1:
            addresses = [self._control_address(index) for index in range(self.topology.consul_servers)]
            cluster = ConsulCluster(self.folder / "consul", addresses, inside=self.inside, acl=acl)
            self.cluster = self._stack.enter_context(cluster)
            self.consuls["dc1"] = cluster.follower()
            return
        for index, datacenter in enumerate(self.topology.datacenters):
            server = ConsulServer(
                self.folder / f"consul-{datacenter}",
                datacenter=datacenter,
                address=self._control_address(index),
                inside=self.inside,
                acl=acl,
                join_wan=[self.consuls["dc1"].wan_address] if index else [],
            )
            self.consuls[datacenter] = self._stack.enter_context(server)

    def _connect_peers(self) -> None:
        """Everyone is there, so handshakes find somebody at the other end.

        Of each two nodes one begins: when both do at once, their handshakes may cross and fail.
        """
        waiting = []
        for node in self.topology.nodes:
            keepalive = self.node_folder(node.label) / files.KEEPALIVE
            if node.device and keepalive.stat().st_size:
                command = [
                    *("xargs", "-d", "\\n", "-a", str(keepalive)),
                    *("/run/real-wg" if node.holdable else "wg", "set", "wg0"),
                ]
                if not node.wg:
                    command[command.index("wg")] = "/run/bin/wg"
                process = subprocess.Popen(self._at(node.label, command), stdin=subprocess.DEVNULL)
                self._stack.callback(reap, process)
                waiting.append((node.label, process))
        for label, process in waiting:
            if process.wait(_STEP):
                raise LabError(f"node {label} did not take its peers")

    def _register(self) -> None:
        for datacenter, server in self.consuls.items():
            for key, value in self.topology.registrations(datacenter).items():
                # One write a server, as a provisioning tool does it: each has an index of its own.
                server.put(key, value)

    def _write_config(self) -> None:
        consul = self.consuls["dc1"]
        if self.topology.readable:
            rules = [
                f'key_prefix "{PREFIX}{start}" {{ policy = "read" }}' for start in self.topology.readable
            ]
            self.write(files.TOKEN_FILE, consul.create_token("\n".join(rules)) + "\n")
        self.write(self.config.name, files.configuration(self.topology, self.folder, consul.url))

    # what stands

    @property
    def config(self) -> Path:
        """The configuration with which `wgaudit` sees this fleet, from the control namespace."""
        return self.folder / "wgaudit.toml"

    @property
    def prefix(self) -> tuple[str, ...]:
        """Put before a command, it runs in the control namespace's network, where wgaudit and Consul are."""
        return ("nsenter", f"--target={self.control_pid}", "--net", "--")

    def inside(self) -> contextlib.AbstractContextManager[None]:
        """Inside of it the calling thread is in the control namespace's network."""
        return network_of(self.control_pid)

    @property
    def _inside(self) -> tuple[str, ...]:
        return ("nsenter", f"--target={self.control_pid}", "--net", "--mount", "--pid", "--")

    def shell(self, label: str) -> str:
        """A command line that opens a shell on a node."""
        return shlex.join(self._at(label, ["bash"]))

    def node_folder(self, label: str) -> Path:
        """Where a node's files and logs are."""
        return self.folder / f"node-{label}"

    def write(self, name: str, text: str) -> None:
        """Writes a file of the lab that only root reads."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)

    def on(self, label: str, *command: str) -> str:
        """Runs a command on a node; its stdout. Raises `LabError` if it fails."""
        done = subprocess.run(
            self._at(label, command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_STEP,
            check=False,
        )
        if done.returncode:
            raise LabError(f"{label}: {shlex.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def start_on(self, label: str, *command: str) -> subprocess.Popen[bytes]:
        """Starts a command on a node that goes on by itself; it ends with the lab at the latest."""
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(self._at(label, command), stdin=quiet, stdout=quiet, stderr=quiet)
        self._stack.callback(reap, process)
        return process

    def allowed_ips(self, label: str) -> dict[str, set[str]]:
        """What `wg show wg0 allowed-ips` prints on the node, by public key."""
        rows = (line.split("\t") for line in self.on(label, "wg", "show", "wg0", "allowed-ips").splitlines())
        return {key: set() if prefixes == "(none)" else set(prefixes.split()) for key, prefixes in rows}

    def addresses(self, label: str) -> set[str]:
        """The host prefixes that the node's device holds; none without a device."""
        links = json.loads(self.on(label, "ip", "-j", "addr", "show"))
        (device,) = [link for link in links if link["ifname"] == "wg0"] or [{"addr_info": []}]
        return {host(each["local"]) for each in device["addr_info"] if each["scope"] == "global"}

    def device_files(self) -> dict[str, str]:
        """The text of each file that configures a node's device, by its path in the lab's folder."""
        found = (
            path
            for node in self.topology.nodes
            for name in (files.WG_QUICK, files.NETWORKD)
            for path in (self.node_folder(node.label) / name).iterdir()
        )
        return {str(path.relative_to(self.folder)): path.read_text() for path in found}

    def networks(self) -> dict[str, Path]:
        """By node: its network namespace."""
        labels = [node.label for node in self.topology.nodes]
        return {label: answers.network(self.node_folder(label), self.control_pid) for label in labels}

    def answer(self) -> None:
        """From now on each node says its name to whoever asks `who_answers`."""
        if not self._answering:
            self._stack.enter_context(answers.answering(self.networks()))
            self._answering = True

    def who_answers(self, observer: str, address: str) -> str | None:
        """Which node a packet to that address comes to when the observer sends it; None: to nobody."""
        return answers.ask(self.networks()[observer], address)

    def shook_hands(self, label: str, public_key: str) -> bool:
        """Whether the node has ever shaken hands with that peer."""
        shown = self.on(label, "wg", "show", "wg0", "latest-handshakes")
        return f"{public_key}\t0" not in shown.splitlines()

    def start_agent(self, label: str) -> None:
        """Starts the fleet's agent on a node, which then sets its peers as the registry says."""
        folder = self.node_folder(label)
        agent = [sys.executable, "-I", str(_HERE / "agent.py")]
        command = [*agent, self.consuls["dc1"].url, PREFIX, str(folder / "peers")]
        with (folder / "agent.log").open("ab") as log:
            process = subprocess.Popen(
                self._at(label, command), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._stack.callback(reap, process)
        self._agents[label] = process

    def end_agent(self, label: str) -> bool:
        """Ends the agent of a node; whether it had one."""
        agent = self._agents.pop(label, None)
        if agent is not None:
            reap(agent)
        return agent is not None

    @contextlib.contextmanager
    def without_sshd(self, label: str) -> Iterator[None]:
        """Inside of it nothing listens on the node's SSH port."""
        pid = (self.node_folder(label) / "sshd.pid").read_text().strip()
        stop = 'kill "$1" && while kill -0 "$1" 2>/dev/null; do sleep 0.02; done'
        self.on(label, "sh", "-c", stop, "sh", pid)
        try:
            yield
        finally:
            self.on(label, "sh", str(_HERE / "sshd.sh"), str(self.node_folder(label)))

    def arm(self, label: str) -> None:
        """The next `wg` on that node (it must be `holdable`) waits, see `held`."""
        (self.node_folder(label) / files.ARMED).touch()

    @contextlib.contextmanager
    def held(self, label: str, sweep: subprocess.Popen[str]) -> Iterator[None]:
        """Entered when the sweep's `wg` on an armed node waits; leaving it lets that `wg` go on."""
        folder = self.node_folder(label)
        with opened(folder / files.REACHED) as reached, opened(folder / files.GO_ON) as go_on:
            while not select.select([reached], [], [], 0.2)[0]:
                if sweep.poll() is not None:
                    (folder / files.ARMED).unlink(missing_ok=True)
                    _, stderr = sweep.communicate()
                    said = (stderr or "")[-2000:]  # none, where it spoke to the terminal itself
                    raise LabError(f"the sweep ended ({sweep.returncode}) before it ran wg: {said}")
            os.read(reached, 100)
            try:
                yield
            finally:
                os.write(go_on, b"\n")
                # The line stays in the pipe as long as this end is open: wait until somebody has taken it.
                wait_until(lambda: not select.select([go_on], [], [], 0)[0], f"wg on {label} to go on")

    @contextlib.contextmanager
    def forced_command(self, command: str) -> Iterator[None]:
        """Inside of it the client's key may run nothing but this on the nodes."""
        paths = [self.node_folder(node.label) / files.AUTHORIZED for node in self.topology.nodes]
        plain = {path: path.read_text() for path in paths}
        try:
            for path, text in plain.items():
                path.write_text(f'restrict,command="{command}" {text}')
            yield
        finally:
            for path, text in plain.items():
                path.write_text(text)

    def command(self, *arguments: str) -> list[str]:
        """`wgaudit ARGUMENTS` as it runs in the control namespace."""
        return [*self.prefix, str(WGAUDIT), *arguments]

    def environment(self) -> dict[str, str]:
        """The environment for it: nothing of the caller's configuration, but the terminal's."""
        taken = {
            name: os.environ[name] for name in ("PATH", "LANG", "TERM", "NO_COLOR") if name in os.environ
        }
        return taken | {"HOME": str(self.folder), "WGAUDIT_CONFIG": str(self.config)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts `wgaudit ARGUMENTS` in the control namespace and returns at once."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start_sweep(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts `wgaudit sweep --format json` and returns at once."""
        return self.start("sweep", "--format", "json", *arguments)

    def run(self, *arguments: str, first: Sequence[str] = ()) -> Sweep:
        """Runs `wgaudit ARGUMENTS` to its end, forked from one that has started already: see `warm_start`.

        first: a file and words for its `begin`, which is called in the run.
        """
        network = f"/proc/{self.control_pid}/ns/net"
        return forked(arguments, self.folder, self.environment(), network, first)

    def sweep(self, *arguments: str) -> Sweep:
        """Runs `wgaudit sweep --format json` to its end."""
        return self.run("sweep", "--format", "json", *arguments)

    def planned_sweep(self, *arguments: str) -> Sweep:
        """A sweep during which happens what the topology says."""
        with self.as_planned(lambda: self.start_sweep(*arguments)) as running:
            return finish(running)

    @contextlib.contextmanager
    def as_planned(self, start: Callable[[], subprocess.Popen[str]]) -> Iterator[subprocess.Popen[str]]:
        """Starts a sweep and does to it what the topology says; Consul is as before afterwards."""
        stops_at = self.topology.consul_stops_at
        if stops_at is None:
            yield start()
            return
        consul = self.consuls["dc1"]
        self.arm(stops_at)
        running = start()
        try:
            with self.held(stops_at, running):
                consul.stop()
            yield running
        finally:
            consul.restart()

    def _at(self, label: str, command: Sequence[str]) -> list[str]:
        holder = (self.node_folder(label) / "holder.pid").read_text().strip()
        return [*self._inside, "nsenter", f"--target={holder}", "--net", "--mount", "--", *command]

    def _control_address(self, index: int) -> str:
        return f"198.18.0.{index + 1}"

    def _log(self, label: str) -> str:
        log = self.node_folder(label) / "node.log"
        return log.read_text(errors="replace")[-2000:]


def wait_until(so: Callable[[], bool], what: str) -> None:
    """Asks until it is so; `LabError` if it takes too long. For what announces itself in no other way."""
    deadline = time.monotonic() + _STEP
    while not so():
        if time.monotonic() > deadline:
            raise LabError(f"waited {_STEP:.0f} s for {what}")
        time.sleep(0.05)
