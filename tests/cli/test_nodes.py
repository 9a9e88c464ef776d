"""`wgaudit nodes`: its forms, its filters, and hosts that a real ssh-keyscan takes."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest

from auditor.registry.file import export_text
from tests.cli.command import one_line, wgaudit
from tests.cli.fleet import HEALTHY, NOBODY, PAIR, Fleet, contested
from tests.fleets import key_of
from tests.parts import program_path
from tests.parts.sshd import Sshd, public

Make = Callable[..., Fleet]
INCIDENT = Path(__file__).parents[2] / "fixtures" / "incident" / "snapshot.json.gz"


def replayed(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return wgaudit("nodes", "--replay", INCIDENT, *options, folder=folder)


def test_it_lists_who_was_seen_and_who_was_not_and_why(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.register(contested(PAIR))
    done = fleet.run("nodes", "--no-progress", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    nodes = {node["node"]: node for node in json.loads(done.stdout)["nodes"]}
    assert len(nodes) == len(HEALTHY) + 2
    assert nodes["db-sin-1"]["unseen"]["reason"] == "connect-refused"
    assert {finding["check"] for finding in nodes["db-sin-1"]["findings"]} >= {"duplicate-address"}
    assert sum(node["live"] is not None for node in nodes.values()) == 2


def test_both_spellings_of_the_form_are_one_option(tmp_path: Path) -> None:
    short, long = replayed(tmp_path, "-o", "csv"), replayed(tmp_path, "--format", "csv")
    assert short.stdout == long.stdout
    assert len(list(csv.DictReader(StringIO(short.stdout, newline="")))) == 10


def test_filters_choose_rows_and_a_misspelt_name_is_told_with_its_like(tmp_path: Path) -> None:
    done = replayed(tmp_path, "--region", "sin", "--node", "edge-*", "--node", "worker-son-1")
    assert done.returncode == 0
    assert "FILTERED  1 of 10 shown: --node 'edge-*'" not in done.stdout  # as typed, no shell's quotes
    assert "FILTERED  1 of 10 shown: --node edge-* --node worker-son-1 --region sin" in done.stdout
    assert one_line(done.stderr).startswith(
        "wgaudit: --node: no node worker-son-1 was seen; did you mean worker-sin-1"
    )


def test_a_registry_that_was_not_read_is_3_whatever_the_form(make_fleet: Make) -> None:
    fleet = make_fleet()
    (fleet.folder / "registry.json").unlink()
    for form in ("table", "hosts"):
        done = fleet.run("nodes", "--no-progress", "-o", form)
        assert done.returncode == 3
        assert "wgaudit: servers may be missing: " in done.stderr


# -- hosts for ssh-keyscan


def registry(folder: Path, hosts: dict[str, str]) -> Path:
    """A configuration whose registry is a file with a node for each host; nothing else is set up yet."""
    records = {
        f"nodes/{name}": json.dumps(
            {"public_key": key_of(name), "ip": f"10.0.1.{number}", "region": name[:3], "ssh_host": host}
        ).encode()
        for number, (name, host) in enumerate(hosts.items(), start=1)
    }
    (folder / "registry.json").write_text(export_text(records), encoding="utf-8")
    config = folder / "wgaudit.toml"
    config.write_text(f'[consul]\nfile = "{folder / "registry.json"}"\nprefix = "nodes/"\n', encoding="utf-8")
    return config


def hosts(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return wgaudit("nodes", "-o", "hosts", *options, folder=folder)


def test_hosts_need_no_login_and_no_known_host(tmp_path: Path) -> None:
    """The list comes before known_hosts does: only the registry is read."""
    registry(tmp_path, {"fra-1": "198.18.0.1", "sin-1": "edge.example.net", "sin-2": "2001:db8::7"})
    done = hosts(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "198.18.0.1\nedge.example.net\n2001:db8::7\n"


def test_hosts_are_filtered_and_each_stands_there_once(tmp_path: Path) -> None:
    registry(tmp_path, {"fra-1": "198.18.0.1", "sin-1": "198.18.0.2", "sin-2": "198.18.0.2"})
    assert hosts(tmp_path, "--region", "sin").stdout == "198.18.0.2\n"


def test_a_host_that_is_no_host_is_not_handed_on(tmp_path: Path) -> None:
    """A network would be scanned whole, and a mesh address may lead to another server."""
    registry(tmp_path, {"fra-1": "198.18.0.0/16", "fra-2": "10.0.1.1", "sin-1": "-oProxyCommand=x"})
    done = hosts(tmp_path)
    assert done.stdout == ""
    assert one_line(done.stderr).startswith(
        "wgaudit: not listed: 3 nodes whose registration leads to no host; "
    )


def test_each_port_is_a_list_of_its_own(tmp_path: Path) -> None:
    """ssh-keyscan takes one port for all, and no `[host]:port`."""
    registry(tmp_path, {"fra-1": "198.18.0.1:2222", "fra-2": "198.18.0.2:2222", "sin-1": "198.18.0.3"})
    most = hosts(tmp_path)
    assert most.stdout == "198.18.0.1\n198.18.0.2\n"
    assert most.stderr.splitlines() == [
        "wgaudit: their port is 2222: ssh-keyscan -p 2222 -f -",
        "wgaudit: not listed: 1 node at port 22; --port 22 lists them",
    ]
    assert hosts(tmp_path, "--port", "22").stdout == "198.18.0.3\n"


def test_many_ports_are_told_in_one_line(tmp_path: Path) -> None:
    registry(tmp_path, {f"fra-{port}": f"198.18.0.1:{port}" for port in range(2201, 2206)})
    assert hosts(tmp_path).stderr.splitlines()[1:] == [
        "wgaudit: not listed: 4 nodes at 4 other ports (2202, 2203, 2204, …); --port PORT lists those of one"
    ]


def test_what_a_real_ssh_keyscan_makes_of_it_is_a_known_hosts_file_for_that_server(tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as server:
        registry(tmp_path, {"fra-1": f"[{server.host}]:{server.port}", "sin-1": NOBODY})
        listed = hosts(tmp_path, "--port", str(server.port))
        scanned = subprocess.run(
            [program_path("ssh-keyscan"), "-p", str(server.port), "-t", "ed25519", "-f", "-"],
            input=listed.stdout,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        # OpenSSH 10 writes its comments to stdout, which known_hosts takes.
        keys = [line for line in scanned.stdout.splitlines() if not line.startswith("#")]
        assert keys == [f"[{server.host}]:{server.port} {public(server.host_key)}"]


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_port_is_for_hosts_alone(tmp_path: Path, form: str) -> None:
    done = replayed(tmp_path, "--port", "22", "-o", form)
    assert done.returncode == 2
    assert one_line(done.stderr) == "wgaudit: --port: only --format hosts takes one"


# -- the same filters on a sweep


def test_filters_of_a_sweep_change_neither_exit_code_nor_summary(tmp_path: Path) -> None:
    whole = wgaudit("sweep", "--replay", INCIDENT, folder=tmp_path)
    some = wgaudit("sweep", "--replay", INCIDENT, "--node", "worker-sin-1", folder=tmp_path)
    assert (some.returncode, some.stderr) == (whole.returncode, whole.stderr)
    assert "FILTERED by --node worker-sin-1: 0 of 2 findings" in some.stdout
    assert "CONTESTED ADDRESSES" not in some.stdout


def test_a_check_that_there_is_not_is_refused_with_its_like(tmp_path: Path) -> None:
    done = wgaudit("sweep", "--replay", INCIDENT, "--check", "split-ruting", folder=tmp_path)
    assert done.returncode == 2
    assert one_line(done.stderr) == (
        "wgaudit: --check: there is no check split-ruting; did you mean split-routing?"
    )


def test_a_form_with_everything_takes_no_filter(tmp_path: Path) -> None:
    done = wgaudit("sweep", "--replay", INCIDENT, "--region", "sin", "--format", "json", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done.stderr) == ("wgaudit: --region: --format json has everything, and takes no filter")


def test_csv_of_a_sweep_is_a_table_of_its_own(tmp_path: Path) -> None:
    done = wgaudit(
        "sweep", "--replay", INCIDENT, "--format", "csv", "--severity", "critical", folder=tmp_path
    )
    assert done.returncode == 1
    rows = list(csv.DictReader(StringIO(done.stdout, newline="")))
    assert {row["severity"] for row in rows} == {"critical"}


def test_a_story_is_filtered_alike(tmp_path: Path) -> None:
    done = wgaudit(
        "explain", PAIR, "--replay", INCIDENT, "--severity", "error", "--region", "zzz", folder=tmp_path
    )
    assert done.returncode == 0
    assert "FILTERED by --region zzz --severity error: 0 of 8 findings shown" in done.stdout
    assert one_line(done.stderr) == "wgaudit: --region: no region zzz was seen"
