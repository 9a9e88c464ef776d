"""`wgaudit sweep --metrics`: a file that others may read, written whatever the sweep came to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.command import one_line, wgaudit
from tests.cli.conftest import to_receiver
from tests.cli.fleet import HEALTHY, PAIR, Fleet, alert_lines, contested
from tests.doubles.receiver import Receiver

Make = Callable[..., Fleet]
INCIDENT = Path(__file__).parents[2] / "fixtures" / "incident" / "snapshot.json.gz"
NOBODY = {"name": "inventory", "type": "webhook", "url": "http://127.0.0.1:1/hook"}


def read(text: str) -> dict[str, float]:
    """Values by name and labels, as `name{label="value"}`."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{label}="{value}"' for label, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def test_the_file_is_for_all_to_read_and_the_report_is_still_shown(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.register(contested(PAIR))
    done = fleet.run("sweep", "--no-progress", "--metrics", "wgaudit.prom")
    file = fleet.folder / "wgaudit.prom"
    assert done.returncode == 1
    assert "CONTESTED ADDRESSES" in done.stdout
    assert file.stat().st_mode & 0o777 == 0o644
    found = read(file.read_text())
    assert found["wgaudit_contested_addresses"] == 1
    # Nobody asked to alert, and there is no state: nothing is said of either.
    assert not [name for name in found if name.startswith(("wgaudit_alerts", "wgaudit_state"))]


def test_sweep_after_sweep_it_says_when_all_was_clean_and_what_reached_nobody(
    make_fleet: Make, receiver: Receiver
) -> None:
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    fleet.register(HEALTHY)
    assert fleet.sweep("--metrics", "m.prom").returncode == 0
    clean = read((fleet.folder / "m.prom").read_text())
    fleet.configure(notifiers=[NOBODY])
    fleet.register(contested(PAIR))
    assert fleet.sweep("--metrics", "m.prom", "--alert-timeout", "1").returncode == 4
    unheard = read((fleet.folder / "m.prom").read_text())
    last_clean = "wgaudit_last_clean_sweep_timestamp_seconds"
    assert clean[last_clean] == clean["wgaudit_last_sweep_timestamp_seconds"]
    assert unheard[last_clean] == clean[last_clean] < unheard["wgaudit_last_sweep_timestamp_seconds"]
    handed_over = "wgaudit_alerts_handed_over"
    waiting = 'wgaudit_alerts_undelivered{state="waiting"}'
    assert (clean[handed_over], clean[waiting]) == (1, 0)
    assert (unheard[handed_over], unheard[waiting]) == (0, 1)
    # A plain sweep asks the state too, and writes the same to stdout where that is the form.
    plain = read(fleet.run("sweep", "--no-progress", "--format", "prometheus").stdout)
    assert (plain[last_clean], plain[waiting]) == (clean[last_clean], 1)
    assert handed_over not in plain


def test_it_is_written_where_too_little_was_seen(make_fleet: Make) -> None:
    fleet = make_fleet()
    (fleet.folder / "registry.json").unlink()
    assert fleet.run("sweep", "--no-progress", "--metrics", "m.prom").returncode == 3
    found = read((fleet.folder / "m.prom").read_text())
    assert found['wgaudit_verdict{verdict="inconclusive"}'] == 1
    assert found["wgaudit_seen_enough"] == 0


def test_a_state_that_cannot_be_read_is_a_metric_of_its_own(make_fleet: Make) -> None:
    fleet = make_fleet()
    fleet.database.parent.mkdir()
    fleet.database.write_bytes(b"no database" * 100)
    fleet.run("sweep", "--no-progress", "--metrics", "m.prom")
    assert read((fleet.folder / "m.prom").read_text())["wgaudit_state_readable"] == 0


def test_a_file_that_cannot_be_written_is_2_in_one_line_and_people_are_told_all_the_same(
    make_fleet: Make, receiver: Receiver
) -> None:
    """As with --output: the report was shown, and the alert was sent."""
    fleet = make_fleet(notifiers=[to_receiver(receiver)])
    fleet.register(contested(PAIR))
    (fleet.folder / "taken").mkdir()
    done = fleet.sweep("--metrics", "taken")
    assert done.returncode == 2
    assert alert_lines(done.stderr) == ["wgaudit: --metrics: cannot write taken: Is a directory"]
    assert "CONTESTED ADDRESSES" in done.stdout
    assert len(receiver.notifications) == 1


def test_a_folder_that_is_not_there_is_refused_before_anything_is_looked_at(tmp_path: Path) -> None:
    done = wgaudit("sweep", "--metrics", "nowhere/m.prom", folder=tmp_path)
    assert done.returncode == 2
    assert one_line(done.stderr) == "wgaudit: --metrics: there is no folder nowhere to write m.prom into"


@pytest.mark.parametrize("options", [(), ("--metrics", "m.prom")], ids=["stdout", "file"])
def test_a_recording_has_metrics_too(tmp_path: Path, options: tuple[str, ...]) -> None:
    form = () if options else ("--format", "prometheus")
    done = wgaudit("sweep", "--replay", INCIDENT, *form, *options, folder=tmp_path)
    text = (tmp_path / "m.prom").read_text() if options else done.stdout
    assert done.returncode == 1
    assert read(text)["wgaudit_contested_addresses"] == 2


def test_report_and_metrics_of_a_recording_are_not_written_into_one_file(tmp_path: Path) -> None:
    both = ("--metrics", "one", "--output", "./one")
    done = wgaudit("sweep", "--replay", INCIDENT, *both, folder=tmp_path)
    assert (done.returncode, (tmp_path / "one").exists()) == (2, False)
    assert "--output and --metrics both write" in one_line(done.stderr)


@pytest.mark.parametrize("command", [("sweep",), ("affected", "10.0.0.1"), ("plan",)])
def test_no_report_is_written_over_its_recording(command: tuple[str, ...], tmp_path: Path) -> None:
    recording = tmp_path / "tonight.json.gz"
    recording.write_bytes(INCIDENT.read_bytes())
    done = wgaudit(*command, "--replay", recording, "--output", recording, folder=tmp_path)
    assert (done.returncode, recording.read_bytes()) == (2, INCIDENT.read_bytes())
