"""Alert rules and dashboard of deploy/prometheus: what a real Prometheus makes of them, over metrics of a sweep."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from auditor.reports.audit_health import AuditHealth
from auditor.values.leaders import Leader, TellingRole
from auditor.values.report import Coverage, Report
from auditor.watch.view import FollowedDatacenter, Sessions, WatchView
from auditor.watch.web.watch_metrics import watch_exposition
from tests.parts import program_path
from tests.parts.prometheus import PrometheusServer
from tests.reports import fleet, sample

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "wgaudit.rules.yml"
UNIT_TESTS = sorted(FOLDER.glob("wgaudit.rules.*test.yml"))
DASHBOARD = FOLDER / "wgaudit.dashboard.json"
DROP_IN = FOLDER / "metrics.conf"
SERVICE = ROOT / "deploy" / "systemd" / "wgaudit.service"
METRICS = ROOT / "docs" / "metrics.md"
METRIC = re.compile(r"\bwgaudit_\w+")
COLUMNS = 24  # of a dashboard
BAD_DAY = AuditHealth(
    state_readable=False,
    last_clean_at=datetime.now(UTC) - timedelta(days=2),
    waiting=2,
    refused=1,
    handed_over=False,
    perhaps_twice={"slack": 1},
    leader=Leader(TellingRole.ALONE, "audit-2", 7),
)


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program_path("promtool"), *words], capture_output=True, text=True, check=False, timeout=120
    )


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return read


def queries() -> list[str]:
    """Each query of a panel, as Grafana sends it where all meshes are chosen."""
    return [
        target["expr"].replace("$mesh", ".*")
        for panel in dashboard()["panels"]
        for target in panel["targets"]
    ]


def bad_metrics() -> str:
    """Metrics of a watch on that day, whose registry does not answer and whose rounds do not end."""
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    bad = WatchView(
        number=1,
        report=bad_day(),
        snapshot=fleet.snapshot(),
        taken_at=long_ago,
        started_at=long_ago,
        ready=True,
        round_at=long_ago,
        datacenters=(FollowedDatacenter("sin", False, long_ago),),
        sessions=Sessions(30, 0, 10),
        health=BAD_DAY,
    )
    return watch_exposition(bad, datetime.now(UTC), (0.6,))


def bad_day() -> Report:
    """A sweep of now with findings and gaps, that saw too little."""
    ended = datetime.now(UTC)
    return replace(
        sample.incident(),
        started_at=ended - timedelta(seconds=9),
        finished_at=ended,
        coverage=Coverage(40, 30, 5),
        gaps=sample.every_gap().gaps,
        seen_enough=False,
        mesh="backbone",
        version="1.2.3",
    )


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that has collected that sweep's metrics, with the rules."""
    folder = tmp_path_factory.mktemp("prometheus")
    with PrometheusServer(folder, bad_metrics(), [RULES]) as server:
        yield server


def test_promtool_takes_the_rules() -> None:
    checked = promtool("check", "rules", RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_rules_ring_and_end_as_their_own_tests_say() -> None:
    tested = promtool("test", "rules", *UNIT_TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_rule_has_a_unit_test_in_which_it_rings() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in UNIT_TESTS)
    silent = [rule["alert"] for rule in rules() if rule["alert"] not in text]
    assert silent == []


def test_promtool_finds_nothing_to_say_of_the_metrics(tmp_path: Path) -> None:
    """Names, types and help, as its linter wants them."""
    text = bad_metrics()
    checked = subprocess.run(
        [program_path("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_rules_and_dashboard_ask_for_metrics_that_there_are() -> None:
    written = set(re.findall(r"^# TYPE (\w+)", bad_metrics(), re.MULTILINE))
    asked = {_family(name) for rule in rules() for name in METRIC.findall(rule["expr"])}
    shown = {_family(name) for query in queries() for name in METRIC.findall(query)}
    assert asked | shown <= written
    assert written - shown == set(), "a metric that no panel shows"


def _family(name: str) -> str:
    """The metric that a series is of: a histogram has one for each bucket."""
    return name.removesuffix("_bucket")


def test_each_metric_has_its_row_in_the_documents() -> None:
    families = list(text_string_to_metric_families(bad_metrics()))
    labels = {
        family.name + "_total" * (family.type == "counter"): {
            f"`{name}`" for name in family.samples[0].labels if name != "mesh"
        }
        for family in families
    }
    rows = re.findall(r"^\| `(wgaudit_\w+)` \| ?(.*?) ?\|", METRICS.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: set(filter(None, cell.split(", "))) for name, cell in rows} == labels


def test_each_rule_has_its_row_in_the_instructions() -> None:
    rows = re.findall(r"^\| (Wgaudit\w+) \|", (ROOT / "deploy" / "README.md").read_text(), re.MULTILINE)
    assert rows == [rule["alert"] for rule in rules()]


def test_the_service_with_metrics_runs_the_same_sweep_and_may_write_where_they_go(tmp_path: Path) -> None:
    (line,) = re.findall(r"^ExecStart=(\S.*)$", SERVICE.read_text(encoding="utf-8"), re.MULTILINE)
    dropped = DROP_IN.read_text(encoding="utf-8")
    (longer,) = re.findall(r"^ExecStart=(\S.*)$", dropped, re.MULTILINE)
    options = longer.removeprefix(line).split()
    (allowed,) = re.findall(r"^ReadWritePaths=(.+)$", dropped, re.MULTILINE)
    assert options[0] == "--metrics"
    assert str(Path(options[1]).parent) == allowed
    assert options[1:] == [options[1]]
    wgaudit = Path(sys.executable).with_name("wgaudit")
    for file, place in ((SERVICE, SERVICE.name), (DROP_IN, f"{SERVICE.name}.d/{DROP_IN.name}")):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        text = re.sub(r"(?m)^(ExecStart=)/\S+", rf"\1{wgaudit}", file.read_text(encoding="utf-8"))
        (tmp_path / place).write_text(text, encoding="utf-8")
    verified = subprocess.run(
        [program_path("systemd-analyze"), "verify", "--man=no", tmp_path / SERVICE.name],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = [line for line in (verified.stderr + verified.stdout).splitlines() if "wgaudit" in line]
    assert (verified.returncode, said) == (0, [])


def test_each_rule_leads_to_a_page_of_the_documents() -> None:
    wrong = []
    for rule in rules():
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        heads = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
        if anchor not in {head.lower().replace(" ", "-") for head in heads}:
            wrong.append(rule["alert"])
    assert wrong == []


def test_a_real_prometheus_evaluates_every_rule_and_the_bad_day_rings(prometheus: PrometheusServer) -> None:
    prometheus.wait_until(
        "each rule was evaluated", lambda: all(rule["health"] != "unknown" for rule in prometheus.rules())
    )
    told = {rule["name"]: rule for rule in prometheus.rules()}
    assert {name: rule.get("lastError") for name, rule in told.items() if rule["health"] != "ok"} == {}
    assert set(told) == {rule["alert"] for rule in rules()}
    # All but those of a sweep that is late or has gone, and of a watch that does not answer.
    quiet = {"WgauditSweepTooOld", "WgauditMissing", "WgauditWatchDown"}
    prometheus.wait_until(
        "the bad day rang",
        lambda: {rule["name"] for rule in prometheus.rules() if rule["alerts"]} == set(told) - quiet,
    )


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_each_query_of_the_dashboard_has_an_answer(prometheus: PrometheusServer, query: str) -> None:
    # A rate needs two samples.
    prometheus.wait_until("the query had an answer", lambda: prometheus.query(query) != [])


def test_the_check_above_notices_a_query_that_is_none(prometheus: PrometheusServer) -> None:
    with pytest.raises(ValueError, match="parse error"):
        prometheus.query("sum by (mesh (wgaudit_verdict)")


def test_the_dashboard_takes_whatever_prometheus_the_reader_chooses() -> None:
    """No datasource of somebody's own is written into it, and no ident that another import could have."""
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    panels = dashboard()["panels"]
    assert all(panel["datasource"] == chosen for panel in panels)
    assert all(target["datasource"] == chosen for panel in panels for target in panel["targets"])
    assert [each["name"] for each in dashboard()["templating"]["list"]] == ["datasource", "mesh"]
    assert "id" not in dashboard()


def test_no_two_panels_of_the_dashboard_stand_in_one_place() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= COLUMNS for panel in panels)
    places = [
        (panel["title"], column, row)
        for panel in panels
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    taken = [place[1:] for place in places]
    double = [one for one, other in itertools.pairwise(sorted(taken)) if one == other]
    assert double == []
