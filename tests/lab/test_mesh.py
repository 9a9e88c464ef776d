"""The lab tests itself: what it brings up is a real mesh, behaves like one, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.lab.cases import clean
from tests.lab.mesh import Lab, LabError, wait_until
from tests.lab.topology import Node, Topology, openssh_public

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab")]
CASE = "incident"
ADDRESS = "10.0.0.1"
REPOSITORY = Path(__file__).parents[2]


def observers_of(lab: Lab) -> tuple[str, str]:
    """Two nodes that hold none of the contested address and pick different claimants for it."""
    claimants = {node.label for node in lab.topology.nodes if node.address == ADDRESS}
    others = [node.label for node in lab.topology.nodes if node.label not in claimants]
    first, second = lab.topology.routing(ADDRESS, others).values()
    return first[0], second[0]


def who_answers(lab: Lab, observer: str, address: str) -> str:
    """The SSH host key behind a mesh address, as seen through the tunnels. "" if nobody answers."""
    for peer in lab.topology.peers(lab.topology.node(observer)):
        wait_until(partial(lab.shook_hands, observer, peer.public_key), f"a handshake with {peer.node}")
    # It exits with 1 where nobody answers, which is one of the answers here.
    scanned = lab.on(observer, "sh", "-c", 'ssh-keyscan -t ed25519 -T 2 "$0" || [ $? = 1 ]', address)
    # Since OpenSSH 9.8 a comment with the server's banner stands on stdout, too.
    keys = [line.split()[1:3] for line in scanned.splitlines() if not line.startswith("#")]
    return " ".join(keys[0]) if keys else ""


def in_its_namespace(pid: int) -> list[int]:
    """Every process that shares the PID namespace of `pid`, which must live."""
    wanted = Path(f"/proc/{pid}/ns/pid").stat().st_ino
    return [each for each in pids() if pid_namespace(each) == wanted]


def pids() -> list[int]:
    """Every process of this machine."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def pid_namespace(pid: int) -> int:
    """The PID namespace of a process; 0 if it has ended."""
    try:
        return Path(f"/proc/{pid}/ns/pid").stat().st_ino
    except OSError:
        return 0


def test_every_device_shows_the_allowed_ips_that_the_topology_says(lab: Lab) -> None:
    """So a test may derive what it expects from the topology instead of from the program under test."""
    shown = {node.label: lab.allowed_ips(node.label) for node in lab.topology.nodes}

    assert shown == {node.label: lab.topology.allowed_ips(node) for node in lab.topology.nodes}


def test_the_loser_shows_none_and_its_handshake_is_fresh(lab: Lab) -> None:
    """The trap of the incident: handshake monitoring stays green for a node that gets no traffic."""
    observer, _ = observers_of(lab)
    shown = lab.allowed_ips(observer)
    claimants = [node for node in lab.topology.nodes if node.address == ADDRESS]
    loser = next(key for key in map(lab.topology.public_key, claimants) if not shown[key])

    wait_until(lambda: lab.shook_hands(observer, loser), "a handshake with the loser")


def test_two_observers_reach_two_different_servers_at_one_address(lab: Lab) -> None:
    """Each observer's packets come to the server that it configured last."""
    answers = {who_answers(lab, observer, ADDRESS) for observer in observers_of(lab)}

    claimants = [node.label for node in lab.topology.nodes if node.address == ADDRESS]
    assert answers == {openssh_public(lab.topology.host_key(label)) for label in claimants}


def test_the_loser_cannot_reach_the_observer(lab: Lab) -> None:
    """Its packets carry an address that the observer accepts from another peer only: dropped."""
    observer, _ = observers_of(lab)
    address = lab.topology.node(observer).address
    (winner,) = [
        node.label
        for node in lab.topology.nodes
        if node.address == ADDRESS and lab.allowed_ips(observer)[lab.topology.public_key(node)]
    ]
    (loser,) = [node.label for node in lab.topology.nodes if node.address == ADDRESS and node.label != winner]

    assert who_answers(lab, winner, address) == openssh_public(lab.topology.host_key(observer))
    assert who_answers(lab, loser, address) == ""


def test_the_machines_own_network_has_none_of_the_labs_links(lab: Lab) -> None:
    """Bridge, cables and devices are in namespaces only."""
    names = {name for _, name in socket.if_nameindex()}

    assert not names & {"br0", "wg0", *(f"node{index}" for index in range(len(lab.topology.nodes)))}


def test_private_keys_are_on_no_command_line(lab: Lab) -> None:
    """Not even the lab's: they go to `wg` by file."""
    lines = [
        Path(f"/proc/{pid}/cmdline").read_bytes()
        for pid in in_its_namespace(lab.control_pid)
        if Path(f"/proc/{pid}/cmdline").exists()
    ]

    assert lines
    secrets = [lab.topology.private_key(node).encode() for node in lab.topology.nodes]
    assert not [secret for secret in secrets for line in lines if secret in line]


def test_leaving_a_lab_ends_every_process_and_removes_its_folder(lab_parts: None) -> None:
    """Namespaces end with their last process, so nothing is left of it."""
    topology = Topology(
        "short", (Node("edge-fra-1", "fra", "10.20.0.1"), Node("edge-sin-1", "sin", "10.20.0.2"))
    )
    with Lab(topology) as lab:
        namespace = pid_namespace(lab.control_pid)
        consul = lab.consuls["dc1"].pid
        assert len(in_its_namespace(lab.control_pid)) > 5

    assert consul not in pids()
    assert namespace not in {pid_namespace(pid) for pid in pids()}
    assert not lab.folder.exists()


def test_a_node_that_does_not_come_up_is_named_and_everything_is_taken_down(lab_parts: None) -> None:
    """`ip route add` refuses the pool; the lab says on which node, with what it printed."""
    nodes = (Node("edge-fra-1", "fra", "10.20.0.1"), Node("edge-sin-1", "sin", "10.20.0.2"))
    topology = Topology("broken", nodes, pools=("no-pool",))
    lab = Lab(topology)

    with pytest.raises(LabError, match=r"(?s)node edge-fra-1 did not come up.*no-pool"), lab:
        pass

    assert not Path(f"/proc/{lab.control_pid}").exists()
    assert not lab.folder.exists()


def test_ctrl_c_on_the_way_up_leaves_nothing_behind(lab_parts: None, tmp_path: Path) -> None:
    """Half a lab is taken down like a whole one."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.lab", clean.__name__],
        cwd=REPOSITORY,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: any(tmp_path.glob("*/node-*/node.log")), "the first node")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130

    assert not list(tmp_path.iterdir())
    assert not [pid for pid in pids() if str(tmp_path).encode() in command_line(pid)]


def test_ctrl_c_takes_a_kept_lab_down(lab_parts: None) -> None:
    """`python -m tests.lab --keep` says where it is and ends in order on an interrupt."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.lab", "--keep", "--no-sweep", clean.__name__],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [line := process.stdout.readline()]
        while line and "Configuration: " not in line:
            lines.append(line := process.stdout.readline())
        folder = Path(line.split()[-1]).parent
        assert folder.is_dir(), lines
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130

    assert not folder.exists()
    assert not [pid for pid in pids() if str(folder).encode() in command_line(pid)]


def command_line(pid: int) -> bytes:
    """What a process was started as; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_without_root_the_lab_says_so_in_one_line() -> None:
    """Exit code 2 and what to do, no traceback."""
    # In a user namespace without a mapping root is nobody, but may still read its own Python.
    disguise = ["unshare", "--user", "--"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*disguise, sys.executable, "-m", "tests.lab"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("the lab needs root")
    assert done.stderr.count("\n") == 1
