"""What deploy/ holds for the watch is what systemd, Nomad, Kubernetes and this program take, and it is confined."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from auditor.cli.main import cli
from auditor.settings.file import Config, parse_config
from tests.parts import program_path
from tests.test_deploy import (
    BY_HAND,
    DEPLOY,
    KUBERNETES,
    LONGEST_EXPOSURE,
    NOMAD,
    README,
    SERVICE,
    read,
    unit,
)

WATCH = DEPLOY / "systemd" / "wgaudit-watch.service"
WATCH_JOB = DEPLOY / "nomad" / "wgaudit-watch.nomad.hcl"
DEPLOYMENT = DEPLOY / "kubernetes" / "wgaudit-watch.yaml"
IMAGE = DEPLOY / "Containerfile"

SECONDS = {"": 1, "s": 1, "min": 60}
HARDENING = (
    "NoNewPrivileges",
    "CapabilityBoundingSet",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "MemoryDenyWriteExecute",
    "PrivateUsers",
    "ProtectSystem",
    "ProtectHome",
    "ProtectProc",
    "SystemCallFilter",
    "User",
    "UMask",
    "StateDirectory",
    "StateDirectoryMode",
    "LoadCredential",
)


def watch_options(words: list[str]) -> dict[str, Any]:
    """What click makes of a call of `wgaudit watch`; it is parsed and not run."""
    assert words[0] == "watch"
    command = cli.get_command(click.Context(cli), "watch")
    assert command is not None
    return command.make_context("watch", words[1:]).params


def seconds(text: str) -> int:
    match = re.fullmatch(r"(\d+)(s|min|)", text)
    assert match is not None, text
    return int(match[1]) * SECONDS[match[2]]


# systemd


@pytest.fixture
def verified(tmp_path: Path) -> Path:
    """The unit, whose program is one that this machine has."""
    program_path("systemd-analyze")
    wgaudit = Path(sys.executable).with_name("wgaudit")
    text, changes = re.subn(r"(?m)^(ExecStart=)\S+", rf"\1{wgaudit}", read(WATCH))
    assert changes == 1
    path = tmp_path / WATCH.name
    path.write_text(text, encoding="utf-8")
    return path


def test_systemd_takes_the_unit_without_a_word_and_rates_it_as_confined(verified: Path) -> None:
    verify = ["systemd-analyze", "verify", "--man=no", verified]
    answer = subprocess.run(verify, capture_output=True, text=True, check=False, timeout=60)
    about_us = [line for line in (answer.stderr + answer.stdout).splitlines() if "wgaudit" in line]
    assert (answer.returncode, about_us) == (0, [])
    rate = ["systemd-analyze", "security", "--offline=yes", f"--threshold={LONGEST_EXPOSURE}", verified]
    answer = subprocess.run(rate, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, answer.stdout[-400:]


def test_it_is_confined_as_the_sweeps_unit_is() -> None:
    watch, sweep = unit(WATCH), unit(SERVICE)
    assert {name: watch.settings[name] for name in HARDENING} == {
        name: sweep.settings[name] for name in HARDENING
    }


def test_systemd_hears_of_readiness_and_progress_from_the_main_process_alone() -> None:
    watch = unit(WATCH)
    assert (watch.last("Type"), watch.last("NotifyAccess")) == ("notify", "main")
    assert seconds(watch.last("WatchdogSec")) >= 30
    assert watch.last("ExecReload") == "/bin/kill -HUP $MAINPID"
    assert watch.last("Restart") == "on-failure"
    assert "SuccessExitStatus" not in watch.settings


def test_it_may_open_a_file_for_each_node_of_a_large_fleet() -> None:
    assert int(unit(WATCH).last("LimitNOFILE")) == 65536


def test_each_way_waits_longer_for_its_end_than_the_watch_takes() -> None:
    limit = Config().watch.stop_within
    assert seconds(unit(WATCH).last("TimeoutStopSec")) > limit
    kill = re.search(r'kill_timeout = "(\w+)"', read(WATCH_JOB))
    assert kill is not None
    assert seconds(kill[1]) > limit
    assert pod()["terminationGracePeriodSeconds"] > limit


def test_the_socket_of_the_instructions_is_in_the_units_own_folder() -> None:
    (place,) = re.findall(r'`listen = "unix://(/run/[^"]+)"`', read(README))
    watch = unit(WATCH)
    assert Path(place).parent == Path("/run") / watch.last("RuntimeDirectory")
    assert watch.last("RuntimeDirectoryMode") == "0750"
    assert parse_config({"watch": {"listen": f"unix://{place}"}}, "README").watch.listen.endswith(place)


def test_commands_by_hand_find_the_secrets_of_a_configuration_for_the_watch() -> None:
    """Credentials are in a folder named after the unit that gets them."""
    (replaced,) = re.findall(
        r"sed '(s\S+)' deploy/systemd/wgaudit.toml", read(README).split("\n## The watch")[1]
    )
    _, old, new, _ = replaced.split("|")
    config = read(DEPLOY / "systemd" / "wgaudit.toml").replace(old, new)
    assert f"/run/credentials/{WATCH.name}/" in config
    assert f"/run/credentials/{SERVICE.name}/" not in config
    service = dict(re.findall(r"(?m)^(\w+)=(\S+)$", read(BY_HAND)))
    expressions = re.findall(r'-e "(s[^"]+)"', read(BY_HAND))
    for expression in expressions:
        for name, value in service.items():
            expression = expression.replace(f"${name}", value)
        _, old, new, _ = expression.split("|")
        config = config.replace(old, new)
    assert set(re.findall(r"/run/credentials/([^/]+)/", config)) == {"wgaudit-by-hand.service"}


# What each of them runs


def nomad_args() -> list[str]:
    match = re.search(r'^\s*args = (\["watch".*\])$', read(WATCH_JOB), re.MULTILINE)
    assert match is not None
    found: list[str] = tomllib.loads(f"value = {match[1]}")["value"]
    return found


def deployment() -> dict[str, Any]:
    (found,) = [
        document for document in yaml.safe_load_all(read(DEPLOYMENT)) if document["kind"] == "Deployment"
    ]
    assert isinstance(found, dict)
    return found


def pod() -> dict[str, Any]:
    found: dict[str, Any] = deployment()["spec"]["template"]["spec"]
    return found


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    found: dict[str, Any] = only
    return found


@pytest.mark.parametrize("way", ["systemd", "nomad", "kubernetes"])
def test_each_way_names_its_configuration_and_waits_for_a_sweep_that_holds_the_state(way: str) -> None:
    words = {
        "systemd": lambda: shlex.split(unit(WATCH).last("ExecStart"))[1:],
        "nomad": nomad_args,
        "kubernetes": lambda: container()["args"],
    }[way]()
    options = watch_options(words)
    assert options["config_path"].name == "wgaudit.toml"
    assert options["lock_wait"] > 0


def configuration(way: str) -> str:
    if way == "nomad":
        match = re.search(r"<<-CONFIG\n(.*?)\n *CONFIG\n", read(WATCH_JOB), re.DOTALL)
        assert match is not None
        return match[1]
    (found,) = [
        document for document in yaml.safe_load_all(read(DEPLOYMENT)) if document["kind"] == "ConfigMap"
    ]
    return str(found["data"]["wgaudit.toml"])


@pytest.mark.parametrize("way", ["nomad", "kubernetes"])
def test_each_configuration_can_be_read_and_each_probe_asks_its_page_on_loopback(way: str) -> None:
    config = parse_config(tomllib.loads(configuration(way)), way)
    assert config.watch.listen.startswith("127.0.0.1:")
    assert config.alerts.heartbeat_url_file is not None
    text = read({"nomad": WATCH_JOB, "kubernetes": DEPLOYMENT}[way])
    asked = set(re.findall(r"http://([\w.]+:\d+)(/-/\w+)", text))
    assert asked == {(config.watch.listen, "/-/healthy"), (config.watch.listen, "/-/ready")}


@pytest.mark.parametrize(("watch", "sweep"), [(WATCH_JOB, NOMAD), (DEPLOYMENT, KUBERNETES)])
def test_the_watch_reads_the_secrets_and_the_state_that_the_sweep_reads(watch: Path, sweep: Path) -> None:
    """Who goes from the timer to the watch keeps its memory, and makes no secret anew."""
    read_ones = [sorted(set(re.findall(r'"(/secrets/[^"]+)"', read(path)))) for path in (watch, sweep)]
    assert read_ones[0] == read_ones[1]
    assert '"/var/lib/wgaudit/wgaudit.db"' in read(watch)
    assert "wgaudit-state" in read(watch)
    assert not re.search(r"CONSUL_HTTP_TOKEN|\b(token|routing_key|url|secret)_env\b", read(watch))


def test_the_image_has_the_page_and_what_the_probes_run() -> None:
    text = read(IMAGE)
    assert re.search(r"pip install .*-r requirements-watch\.txt", text)
    assert re.search(r"apt-get install .*\bcurl\b", text)
    probes = [container()[name]["exec"]["command"][0] for name in ("livenessProbe", "readinessProbe")]
    assert {*probes, *re.findall(r'command\s+= "(\w+)"', read(WATCH_JOB))} == {"curl"}


def test_the_pod_is_one_at_a_time_confined_and_keeps_its_memory() -> None:
    spec = deployment()["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert pod()["securityContext"]["runAsNonRoot"]
    assert pod()["automountServiceAccountToken"] is False
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (state,) = [volume for volume in pod()["volumes"] if volume["name"] == "state"]
    assert state["persistentVolumeClaim"]["claimName"] == "wgaudit-state"
    assert {mount["name"] for mount in container()["volumeMounts"]} == {
        volume["name"] for volume in pod()["volumes"]
    }


def test_a_pod_is_killed_where_its_loop_is_stuck_and_not_where_consul_is_away() -> None:
    command = {name: container()[name]["exec"]["command"][-1] for name in ("livenessProbe", "readinessProbe")}
    assert command["livenessProbe"].endswith("/-/healthy")
    assert command["readinessProbe"].endswith("/-/ready")


def test_the_nomad_job_is_restarted_where_its_loop_is_stuck_and_not_where_consul_is_away() -> None:
    alive, ready = re.findall(r"\n        check \{\n(.*?)\n        \}\n", read(WATCH_JOB), re.DOTALL)
    assert "/-/healthy" in alive
    assert "check_restart" in alive
    assert "/-/ready" in ready
    assert "check_restart" not in ready


def test_the_nomad_job_has_the_periodic_jobs_form() -> None:
    """No parser of HCL is at hand: blocks and strings are counted, as for the other job."""
    assert shutil.which("nomad") is None or subprocess.run(["nomad", "fmt", "-check", WATCH_JOB], check=True)
    text = re.sub(r"<<-(\w+)\n.*?\n *\1\n", '""\n', read(WATCH_JOB), flags=re.DOTALL)
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line)
        if not bare.lstrip().startswith("#"):
            assert re.fullmatch(
                r'\s*(|\}|\w+( "")* \{|\w+ *= *("".*|\[.*\]?|\d+|true|false)|"",?|\],?)', bare
            ), f"line {number}: {line}"
            depth += bare.count("{") - bare.count("}")
        assert depth >= 0, f"line {number} closes what is not open"
    assert depth == 0
