"""What deploy/ holds is what its tools take, what this program takes, and keeps secrets where they belong."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
import yaml

from auditor.cli import running
from auditor.cli.main import EXIT_USAGE, cli
from auditor.settings.file import Config, parse_config
from tests.parts import program_path

DEPLOY = Path(__file__).parent.parent / "deploy"
README = DEPLOY / "README.md"
SERVICE = DEPLOY / "systemd" / "wgaudit.service"
BY_HAND = DEPLOY / "systemd" / "wgaudit-by-hand"
TIMER = DEPLOY / "systemd" / "wgaudit.timer"
SYSTEMD_CONFIG = DEPLOY / "systemd" / "wgaudit.toml"
CRON = DEPLOY / "cron" / "wgaudit"
NOMAD = DEPLOY / "nomad" / "wgaudit.nomad.hcl"
KUBERNETES = DEPLOY / "kubernetes" / "wgaudit.yaml"

LONGEST_EXPOSURE = 20  # of 100, as systemd-analyze rates a service: 0 is a service that may do nothing
FOUND = (running.EXIT_FINDINGS, running.EXIT_INCONCLUSIVE)
NOT_TOLD = (EXIT_USAGE, running.EXIT_NOT_HANDED_OVER)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# systemd


class Unit(NamedTuple):
    """A unit file's settings: each with all its values, in order."""

    settings: dict[str, list[str]]

    def last(self, name: str) -> str:
        return self.settings[name][-1]


def unit(path: Path) -> Unit:
    settings: dict[str, list[str]] = {}
    for line in read(path).splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith(("#", ";")):
            settings.setdefault(name, []).append(value)
    return Unit(settings)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A folder with both units, whose program is one that this machine has."""
    program_path("systemd-analyze")
    wgaudit = Path(sys.executable).with_name("wgaudit")
    text, changes = re.subn(r"(?m)^(ExecStart=)\S+", rf"\1{wgaudit}", read(SERVICE))
    assert changes == 1
    (tmp_path / SERVICE.name).write_text(text, encoding="utf-8")
    shutil.copy(TIMER, tmp_path)
    return tmp_path


def test_systemd_takes_both_units_without_a_word(units: Path) -> None:
    """An unknown or misplaced setting is a warning to systemd, which goes on without it."""
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", units / SERVICE.name, units / TIMER.name],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    about_us = [line for line in (answer.stderr + answer.stdout).splitlines() if "wgaudit" in line]
    assert (answer.returncode, about_us) == (0, [])


def test_the_check_above_notices_a_setting_that_systemd_does_not_know(units: Path) -> None:
    path = units / SERVICE.name
    path.write_text(read(path).replace("ProtectSystem=", "ProtectSystems="), encoding="utf-8")
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "ProtectSystems" in answer.stderr


def test_systemd_rates_the_service_as_well_confined(units: Path) -> None:
    answer = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=yes",
            f"--threshold={LONGEST_EXPOSURE}",
            units / SERVICE.name,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stdout[-400:]


def test_the_unit_fails_where_nobody_was_told_and_nowhere_else() -> None:
    accepted = {int(code) for code in unit(SERVICE).last("SuccessExitStatus").split()}
    assert accepted == set(FOUND)
    assert not accepted & set(NOT_TOLD)


def secrets_of_systemd() -> set[str]:
    """The files that the configuration names, by their name in the folder that the unit is shown."""
    prefix = f"/run/credentials/{SERVICE.name}/secrets_"
    return set(re.findall(rf'"{re.escape(prefix)}([^"]+)"', read(SYSTEMD_CONFIG)))


def test_the_unit_and_the_command_by_hand_are_shown_the_folder_of_the_instructions() -> None:
    """Credentials of a folder are called ID_FILE."""
    assert unit(SERVICE).settings["LoadCredential"] == ["secrets:/etc/wgaudit/secrets"]
    assert "--property=LoadCredential=secrets:/etc/wgaudit/secrets" in read(BY_HAND)
    assert "/run/credentials/" not in re.sub(
        rf"/run/credentials/{SERVICE.name}/secrets_", "", read(SYSTEMD_CONFIG)
    )


def test_each_secret_that_the_services_configuration_reads_is_one_that_its_instructions_make() -> None:
    section = read(README).split("\n## systemd\n")[1].split("\n## ")[0]
    made = set(re.findall(r"(?:cat > |install .* )/etc/wgaudit/secrets/(\S+)", section))
    assert secrets_of_systemd() == made


def test_the_command_by_hand_is_a_script_that_a_posix_shell_reads() -> None:
    assert os.access(BY_HAND, os.X_OK)
    subprocess.run(["/bin/sh", "-n", BY_HAND], check=True, timeout=30)


def test_the_command_by_hand_runs_as_the_services_user_with_its_state() -> None:
    service, text = unit(SERVICE), read(BY_HAND)
    for name in ("User", "StateDirectory", "StateDirectoryMode", "UMask"):
        assert f"--property={name}={service.last(name)}" in text
    program = shlex.split(service.last("ExecStart"))[0]
    assert f'{program} "$@"' in text


def test_the_service_writes_below_its_state_directory_only() -> None:
    """ProtectSystem=strict leaves nothing else; a path elsewhere would be a failure at the first run."""
    service = unit(SERVICE)
    assert service.last("ProtectSystem") == "strict"
    folder = Path("/var/lib") / service.last("StateDirectory")
    written = [Path(sweep_options(service.last("ExecStart"))["output"]), config_of(SYSTEMD_CONFIG).state.path]
    assert all(path.parent == folder for path in written)


def test_the_service_is_not_cut_off_before_the_sweep_and_its_alerts_are_over() -> None:
    options = sweep_options(unit(SERVICE).last("ExecStart"))
    limit = re.fullmatch(r"(\d+)min", unit(SERVICE).last("TimeoutStartSec"))
    assert limit is not None
    assert int(limit[1]) * 60 > options["deadline"] + options["alert_timeout"]


# The command that each of them runs


def sweep_options(line: str) -> dict[str, Any]:
    """What click makes of a command line of `wgaudit sweep`; it is parsed and not run."""
    words = shlex.split(line)
    start = next(position for position, word in enumerate(words) if Path(word).name == "wgaudit")
    words = list(itertools.takewhile(lambda word: not word.startswith(("2>", "||", ";")), words[start + 1 :]))
    return parsed(words)


def parsed(words: list[str]) -> dict[str, Any]:
    assert words[0] == "sweep"
    command = cli.get_command(click.Context(cli), "sweep")
    assert command is not None
    return command.make_context("sweep", words[1:]).params


def cron_line() -> str:
    (line,) = [line for line in read(CRON).splitlines() if re.match(r"[*\d]", line)]
    return line


def cron_command() -> str:
    """What cron hands to its shell: all that stands behind the user."""
    return cron_line().split(maxsplit=6)[6]


def container() -> dict[str, Any]:
    job = kubernetes("CronJob")["spec"]["jobTemplate"]["spec"]
    (only,) = job["template"]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def kubernetes(kind: str) -> dict[str, Any]:
    (found,) = [document for document in yaml.safe_load_all(read(KUBERNETES)) if document["kind"] == kind]
    assert isinstance(found, dict)
    return found


def nomad_list(key: str) -> list[str]:
    """A list of strings that stands on one line. HCL writes it as TOML does."""
    match = re.search(rf"^\s*{key}\s*=\s*(\[.*\])$", read(NOMAD), re.MULTILINE)
    assert match is not None
    found = tomllib.loads(f"value = {match[1]}")["value"]
    assert isinstance(found, list)
    return found


def commands() -> dict[str, dict[str, Any]]:
    return {
        "systemd": sweep_options(unit(SERVICE).last("ExecStart")),
        "cron": sweep_options(cron_command()),
        "nomad": parsed(nomad_list("args")),
        "kubernetes": parsed(container()["args"]),
    }


WAYS = ("systemd", "cron", "nomad", "kubernetes")


@pytest.mark.parametrize("way", WAYS)
def test_each_way_runs_a_sweep_with_alerts_an_end_and_no_progress(way: str) -> None:
    options = commands()[way]
    assert options["alert"]
    assert options["deadline"]
    assert options["no_progress"]


@pytest.mark.parametrize("way", WAYS)
def test_no_way_hands_a_secret_over_on_the_command_line_or_in_the_environment(way: str) -> None:
    """A process list is read by everybody on the machine, an environment by every child."""
    file = {"systemd": SERVICE, "cron": CRON, "nomad": NOMAD, "kubernetes": KUBERNETES}[way]
    assert not re.search(
        r"CONSUL_HTTP_TOKEN|\b(token|routing_key|url|secret)_env\b|\benv\s*=\s*true", read(file)
    )
    names = {entry["name"] for entry in container()["env"]} if way == "kubernetes" else set()
    assert names <= {"HOME"}


# What becomes of the exit code


def wrapped(command: list[str], code: int, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a wrapper with a `wgaudit` on its path that does nothing but exit with the code."""
    program = folder / "wgaudit"
    program.write_text(f'#!/bin/sh\necho "told $*" >&2\nexit {code}\n', encoding="utf-8")
    program.chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, env={"PATH": path}
    )


@pytest.mark.parametrize("way", ["nomad", "kubernetes"])
@pytest.mark.parametrize("code", [running.EXIT_CLEAN, *FOUND, *NOT_TOLD, 137])
def test_a_job_fails_where_nobody_was_told_and_nowhere_else(way: str, code: int, tmp_path: Path) -> None:
    command = (
        [*nomad_list("entrypoint"), *nomad_list("args")]
        if way == "nomad"
        else [*container()["command"], *container()["args"]]
    )
    answer = wrapped(command, code, tmp_path)
    assert answer.returncode == (0 if code in (running.EXIT_CLEAN, *FOUND) else code)
    assert answer.stderr.startswith("told sweep --config ")


@pytest.mark.parametrize("code", [running.EXIT_CLEAN, *FOUND, *NOT_TOLD, 137])
def test_cron_mails_where_nobody_was_told_and_nowhere_else(code: int, tmp_path: Path) -> None:
    """cron mails what a command prints."""
    command = cron_command().replace("/var/lib/wgaudit", str(tmp_path))
    answer = wrapped(["/bin/sh", "-c", command], code, tmp_path)
    mailed = answer.stdout + answer.stderr
    assert ("told sweep" in mailed) == (code not in (running.EXIT_CLEAN, *FOUND))


def test_the_crontab_line_has_no_percent_sign() -> None:
    """cron takes it for the end of the line."""
    assert "%" not in cron_line()
    assert cron_line().split()[5] == "wgaudit"


# Their configurations


def config_of(path: Path) -> Config:
    return parse_config(tomllib.loads(read(path)), path.name)


def nomad_config() -> str:
    match = re.search(r"<<-CONFIG\n(.*?)\n *CONFIG\n", read(NOMAD), re.DOTALL)
    assert match is not None
    return match[1]


def configuration(way: str) -> str:
    if way == "systemd":
        return read(SYSTEMD_CONFIG)
    return nomad_config() if way == "nomad" else str(kubernetes("ConfigMap")["data"]["wgaudit.toml"])


@pytest.mark.parametrize("way", ["systemd", "nomad", "kubernetes"])
def test_each_configuration_can_be_read_and_names_its_secrets_as_files(way: str) -> None:
    text = configuration(way)
    config = parse_config(tomllib.loads(text), way)
    assert config.consul.token_file is not None
    assert config.alerts.heartbeat_url_file is not None
    assert config.notifiers
    secrets = [
        ("consul", "token"),
        ("alerts", "heartbeat_url"),
        ("notifiers", "url"),
        ("notifiers", "secret"),
    ]
    given = tomllib.loads(text)
    for table, key in [*secrets, ("notifiers", "routing_key")]:
        entries = given.get(table, {})
        for entry in entries if isinstance(entries, list) else [entries]:
            assert key not in entry
            assert f"{key}_env" not in entry


def test_each_secret_that_the_nomad_job_reads_is_one_that_it_writes() -> None:
    text = read(NOMAD)
    written = set(re.findall(r'destination = "secrets/([^"]+)"', text))
    assert set(re.findall(r'"/secrets/([^"]+)"', text)) == written


def test_each_secret_that_the_cronjob_reads_is_one_that_its_instructions_make() -> None:
    needed = set(re.findall(r'"/secrets/([^"]+)"', kubernetes("ConfigMap")["data"]["wgaudit.toml"]))
    section = read(README).split("\n## Kubernetes\n")[1]
    assert set(re.findall(r"--from-file=(\S+)", section)) == needed


# Nomad


def test_the_nomad_jobs_blocks_are_closed_and_its_strings_too() -> None:
    """No parser of HCL is at hand: braces, quotes and heredocs are counted. `nomad job validate` does more."""
    text = re.sub(r"<<-(\w+)\n.*?\n *\1\n", '""\n', read(NOMAD), flags=re.DOTALL)
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line)
        if not bare.lstrip().startswith("#"):
            assert bare.count('"') % 2 == 0, f"line {number}: {line}"
            assert re.fullmatch(
                r'\s*(|\}|\w+( "")* \{|\w+ *= *("".*|\[.*\]?|\d+|true|false)|"",?|\],?)', bare
            ), f"line {number}: {line}"
            depth += bare.count("{") - bare.count("}")
        assert depth >= 0, f"line {number} closes what is not open"
    assert depth == 0


def test_the_nomad_job_never_runs_twice_at_once() -> None:
    assert re.search(r"prohibit_overlap\s*=\s*true", read(NOMAD))


# Kubernetes


def test_the_cronjob_never_runs_twice_at_once_and_is_not_tried_again() -> None:
    spec = kubernetes("CronJob")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert spec["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_the_cronjobs_memory_outlives_its_pod() -> None:
    """In an emptyDir every run would page everything again."""
    volumes = kubernetes("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"]
    (state,) = [volume for volume in volumes if volume["name"] == "state"]
    assert (
        state["persistentVolumeClaim"]["claimName"] == kubernetes("PersistentVolumeClaim")["metadata"]["name"]
    )
    (mount,) = [mount for mount in container()["volumeMounts"] if mount["name"] == "state"]
    config = parse_config(tomllib.loads(kubernetes("ConfigMap")["data"]["wgaudit.toml"]), "kubernetes")
    assert str(config.state.path.parent) == mount["mountPath"]


def test_the_cronjobs_pod_is_confined() -> None:
    pod = kubernetes("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_each_mount_of_the_cronjob_has_its_volume() -> None:
    pod = kubernetes("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert {mount["name"] for mount in container()["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }


# The instructions


def test_each_file_that_the_instructions_name_is_there_and_each_file_is_named() -> None:
    named = set(re.findall(r"deploy/([\w./-]+\w)", read(README)))
    there = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()}
    assert named == there - {README.name}


def test_the_image_is_the_same_wherever_it_is_named() -> None:
    """With the version of this tree."""
    version = tomllib.loads(read(DEPLOY.parent / "pyproject.toml"))["project"]["version"]
    images = {
        match
        for path in DEPLOY.rglob("*")
        if path.is_file()
        for match in re.findall(r"[\w.]+/wgaudit:[\w.]+\w", read(path))
    }
    assert images == {f"registry.example.net/wgaudit:{version}"}
