"""What deploy/ holds for a collector is what systemd and this program take, and it is confined."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click

from auditor.cli.main import cli
from auditor.service.collector_run import DRAIN, LAST_WORDS
from auditor.settings.file import parse_toml
from tests.gather.nats.documented import documented
from tests.parts import program_path
from tests.test_deploy import DEPLOY, LONGEST_EXPOSURE, README, SERVICE, read, unit
from tests.test_deploy_watch import HARDENING, WATCH, seconds

COLLECTOR = DEPLOY / "systemd" / "wgaudit-collector.service"


def test_systemd_takes_the_unit_without_a_word_and_rates_it_as_confined(tmp_path: Path) -> None:
    program_path("systemd-analyze")
    wgaudit = Path(sys.executable).with_name("wgaudit")
    text, changes = re.subn(r"(?m)^(ExecStart=)\S+", rf"\1{wgaudit}", read(COLLECTOR))
    assert changes == 1
    path = tmp_path / COLLECTOR.name
    path.write_text(text, encoding="utf-8")
    for command in (
        ["systemd-analyze", "verify", "--man=no", path],
        ["systemd-analyze", "security", "--offline=yes", f"--threshold={LONGEST_EXPOSURE}", path],
    ):
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        faults = [line for line in answer.stderr.splitlines() if "wgaudit" in line]
        assert (answer.returncode, faults) == (0, []), answer.stdout[-400:]


def test_it_is_confined_and_told_of_as_the_others_are() -> None:
    collector, sweep, watch = unit(COLLECTOR), unit(SERVICE), unit(WATCH)
    assert {name: collector.settings[name] for name in HARDENING} == {
        name: sweep.settings[name] for name in HARDENING
    }
    for name in ("Type", "NotifyAccess", "WatchdogSec", "Restart", "LimitNOFILE"):
        assert collector.last(name) == watch.last(name)
    assert seconds(collector.last("TimeoutStopSec")) > DRAIN + LAST_WORDS


def test_it_runs_the_collector_of_the_region_that_the_unit_names() -> None:
    collector = unit(COLLECTOR)
    (region,) = [
        value.removeprefix("WGAUDIT_REGION=")
        for value in collector.settings["Environment"]
        if value.startswith("WGAUDIT_REGION=")
    ]
    words = shlex.split(collector.last("ExecStart").replace("${WGAUDIT_REGION}", region))
    command = cli.get_command(click.Context(cli), words[1])
    assert command is not None
    options = command.make_context(words[1], words[2:]).params
    assert options["region"] == region == "fra"
    assert options["config_path"] == Path("/etc/wgaudit/collector.toml")


def test_the_instructions_make_the_documented_configuration_name_the_units_credentials() -> None:
    section = read(README).split("\n## A collector")[1].split("\n## ")[0]
    config = documented("collector")
    for old, new in re.findall(r"-e 's\|(\S+?)\|(\S+?)\|'", section):
        assert old in config
        config = config.replace(old, new)
    prefix = f"/run/credentials/{COLLECTOR.name}/secrets_"
    parsed = parse_toml(config, "collector.toml")
    assert str(parsed.collectors.nkey_file) == f"{prefix}wgaudit.nk"
    assert [str(path) for path in parsed.ssh.identity_files or ()] == [f"{prefix}id_ed25519"]
    assert re.search(r"install \S.* deploy/systemd/wgaudit-collector\.service", section)
