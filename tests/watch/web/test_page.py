"""The page's paths over real sockets: what each answers, in which words, and under which headers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from auditor.settings.watch import WatchSettings
from auditor.values.findings import Severity
from auditor.values.report import Verdict
from auditor.watch.view import WatchView
from auditor.watch.web.page_guard import POLICY
from auditor.watch.web.page_keeper import PageSources
from auditor.watch.web.server import served_page
from tests.reports import sample
from tests.reports.html.test_html_report import words
from tests.watch.web.scripted import (
    LiteralRecord,
    ScriptedViews,
    fleet_view,
    notice,
    served,
    view,
    week_of_spans,
)

PATHS = ("/", "/address/10.0.0.1", "/node/edge-sin-1", "/api/v1/report", "/metrics", "/-/healthy", "/-/ready")


async def shown_by(client: httpx.AsyncClient, number: int) -> None:
    """Wait until the page shows this view, as its event stream tells."""
    async with asyncio.timeout(20), client.stream("GET", "/events") as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data: ") and line.split("-")[1:2] == [str(number)]:
                return


@asynccontextmanager
async def asked(
    shown: WatchView | None, record: LiteralRecord | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, ScriptedViews]]:
    """A client of a page with this view."""
    views = ScriptedViews(shown)
    async with (
        served(views, record) as listener,
        httpx.AsyncClient(base_url=listener.url, trust_env=False, timeout=20) as client,
    ):
        yield client, views


async def test_the_page_says_the_verdict_first_then_all_that_the_report_has() -> None:
    record = LiteralRecord((notice("10.0.0.1"),), week_of_spans(datetime.now(UTC)))
    async with asked(view(1, sample.incident()), record) as (client, _):
        text = words((await client.get("/")).text)
    assert (
        "FINDINGS: 2 contested addresses, 3 more findings · 38 of 40 nodes seen · 2 gaps · mesh backbone"
        in text
    )
    order = [
        "Claimed by",
        "Other findings",
        "Not seen",
        "Who was told",
        "What is followed",
        "Last seven days",
    ]
    places = [text.rindex(heading) for heading in order]
    assert places == sorted(places)
    assert "wgaudit explain 10.0.0.1" in text
    assert "37 sessions open, 1 looked at each round, 2 not seen" in text
    assert "began anew after an election" in text
    assert "oncall duplicate-address: 10.0.0.1 taken" in text
    assert "last 1, most 3 on" in text


async def test_before_anything_was_read_the_page_says_so_and_ready_is_503() -> None:
    async with asked(None) as (client, views):
        assert "Nothing was read yet" in words((await client.get("/")).text)
        answers = {path: (await client.get(path)).status_code for path in PATHS}
        assert answers == dict.fromkeys(PATHS, 200) | {"/-/ready": 503, "/api/v1/report": 503}
        assert "wgaudit_watch_ready 0.0" in (await client.get("/metrics")).text
        await views.show(view(1, sample.incident(), ready=False))
        await shown_by(client, 1)
        assert "The registry has not been read whole yet" in words((await client.get("/")).text)
        assert (await client.get("/-/ready")).status_code == 503
        await views.show(view(2, sample.incident()))
        await shown_by(client, 2)
        assert (await client.get("/-/ready")).text == "ready\n"


async def test_each_answer_has_the_safe_headers_and_head_has_no_body() -> None:
    async with asked(fleet_view(1)) as (client, _):
        for path in (*PATHS, "/static/watch.js", "/nowhere", "/node/nobody"):
            got, head = await client.get(path), await client.head(path)
            assert head.status_code == got.status_code
            assert head.content == b""
            for answer in (got, head):
                assert answer.headers["content-security-policy"] == POLICY
                assert answer.headers["x-content-type-options"] == "nosniff"
                assert answer.headers["referrer-policy"] == "no-referrer"
                assert answer.headers["cache-control"] in ("no-store", "no-cache")
                assert "server" not in answer.headers


async def test_nothing_but_get_and_head_is_answered() -> None:
    async with asked(fleet_view(1)) as (client, _):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
            for path in ("/", "/events", "/nowhere"):
                answer = await client.request(method, path)
                assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_somebody_elses_name_that_leads_here_is_refused() -> None:
    """DNS rebinding: a page elsewhere makes its own name mean 127.0.0.1, and reads what a browser here may read."""
    ours = ("localhost:9586", "127.0.0.1", "[::1]:1", "LOCALHOST.")
    theirs = ("rebound.example.net", "127.0.0.1.example.net:9586", "localhost.example.net", "192.0.2.7", "")
    async with asked(fleet_view(1)) as (client, _):
        for host in (*ours, *theirs):
            for path in ("/", "/events", "/metrics", "/-/healthy"):
                async with client.stream("GET", path, headers={"host": host}) as answer:
                    assert answer.status_code == (200 if host in ours else 403), (host, path)


async def test_a_page_of_an_address_tells_its_story_and_who_reaches_whom() -> None:
    async with asked(fleet_view(1)) as (client, _):
        text = words((await client.get("/address/10.0.0.1")).text)
    assert "claimed by edge-fra-1 (fra) and edge-sin-1 (sin)" in text
    assert "4 observers reach edge-sin-1 (sin), and lose edge-fra-1 (fra)" in text
    assert "sin 2 worker-sin-1, worker-sin-2" in text
    assert "registered wireguard/nodes/edge-sin-1 (index 4711, changed 4713)" in text
    assert "wgaudit plan --address 10.0.0.1" in text


async def test_a_page_of_a_node_tells_what_it_is_and_whom_it_loses() -> None:
    async with asked(fleet_view(1)) as (client, _):
        text = words((await client.get("/node/worker-sin-1")).text)
        unseen = words((await client.get("/node/worker-nrt-3")).text)
    assert "10.0.0.1 → edge-sin-1 (sin), and does not reach edge-fra-1 (fra)" in text
    assert "SSH host 198.18.0.12" in text
    assert "connect-refused" in unseen


async def test_what_is_not_known_is_404_with_words() -> None:
    unknown = (
        ("/node/edge-sin-9", "nearest known: 'edge-sin-1'"),
        ("/address/10.0.0.300", "No address"),
        ("/address/10.9.9.9", "do not treat it as free"),
        ("/node/" + "x" * 5000, "longer than any name"),
        ("/node/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "<script>alert(1)</script>"),
        ("/node/a%0d%0ab", r"a\x0d\x0ab"),
    )
    async with asked(fleet_view(1)) as (client, _):
        for path, said in unknown:
            answer = await client.get(path)
            assert answer.status_code == 404
            assert said in words(answer.text)
            assert "<script>" not in answer.text


async def test_a_name_in_two_datacenters_leads_to_each() -> None:
    shown = fleet_view(1)
    node = shown.snapshot.registrations[0]
    twin = replace(node, node=node.node._replace(datacenter="dc2"))
    snapshot = replace(shown.snapshot, registrations=(*shown.snapshot.registrations, twin))
    async with asked(replace(shown, snapshot=snapshot)) as (client, _):
        answer = await client.get(f"/node/{node.node.name}")
        assert answer.status_code == 300
        assert f'href="/node/{node.node.name}%40dc2"' in answer.text
        assert (await client.get(f"/node/{node.node.name}%40dc2")).status_code == 200


async def test_the_report_has_a_strong_tag_and_is_not_sent_twice() -> None:
    async with asked(view(1, sample.incident())) as (client, views):
        first = await client.get("/api/v1/report")
        assert json.loads(first.content)["schema"] == "wgaudit.report/1"
        tag = first.headers["etag"]
        assert tag.startswith('"')
        for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            again = await client.get("/api/v1/report", headers={"if-none-match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        await views.show(view(2, sample.clean()))
        await shown_by(client, 2)
        assert (await client.get("/api/v1/report", headers={"if-none-match": tag})).status_code == 200


async def test_metrics_are_those_of_a_sweep_and_the_watchs_own_without_nodes_in_labels() -> None:
    async with asked(view(1, sample.incident())) as (client, _):
        text = (await client.get("/metrics")).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    values = {
        sample_.name: sample_.value
        for family in families.values()
        for sample_ in family.samples
        if len(sample_.labels) <= 1
    }
    assert values["wgaudit_contested_addresses"] == 2
    assert values["wgaudit_watch_ready"] == 1
    assert values["wgaudit_watch_wakes_total"] == 12
    assert 9 <= values["wgaudit_watch_registry_answer_age_seconds"] < 60
    assert values["wgaudit_watch_page_seconds_count"] == 2
    own = [family for name, family in families.items() if name.startswith("wgaudit_watch")]
    assert {label for family in own for sample_ in family.samples for label in sample_.labels} <= {
        "mesh",
        "state",
        "le",
    }


async def test_a_state_that_cannot_be_read_is_said_and_the_rest_is_shown() -> None:
    async with asked(
        view(1, sample.clean()), LiteralRecord(fault="the state cannot be read: it is no database")
    ) as (
        client,
        _,
    ):
        text = words((await client.get("/")).text)
    assert "Not known: the state cannot be read: it is no database" in text
    assert "Nothing is wrong." in text


async def test_hostile_names_are_no_markup_anywhere() -> None:
    record = LiteralRecord(tuple(notice(name, notifier=name, state="dead") for name in sample.HOSTILE_NAMES))
    async with asked(view(1, sample.hostile()), record) as (client, _):
        text = (await client.get("/")).text
    words(text)  # each tag is closed
    for found in ("<script>alert", "<img", "javascript:", "\x1b", "\u202e"):
        assert found not in text


async def test_a_page_of_a_huge_fleet_is_bounded_and_says_what_it_leaves_out() -> None:
    huge = sample.huge(5_000, 502)
    contested = tuple(replace(sample.PAIR, subject=f"10.9.{n // 250}.{n % 250}") for n in range(500))
    gaps = tuple(replace(sample.REFUSED, node=f"worker-{n}", detail=f"refused {n}") for n in range(2_000))
    for findings in (huge.findings, contested):
        async with asked(view(1, replace(huge, findings=findings, gaps=gaps))) as (client, _):
            page = await client.get("/")
        assert len(page.content) < 400_000
        text = words(page.text)
        assert "wgaudit sweep" in text
        assert "2,000 gaps" in text
        assert "further contested addresses" in text or "Not written out here" in text


async def test_the_last_change_is_marked_and_what_went_is_named() -> None:
    async with asked(view(1, sample.report(Verdict.FINDINGS, (sample.PAIR,)))) as (client, views):
        assert "Last change" not in words((await client.get("/")).text)
        worse = replace(sample.DRIFT, severity=Severity.CRITICAL)
        await views.show(view(2, sample.report(Verdict.FINDINGS, (worse,))))
        await shown_by(client, 2)
        text = words((await client.get("/")).text)
    assert "1 new finding (worker-nrt-3), 1 finding gone (10.0.0.1)" in text
    assert "worker-nrt-3 new at" in text


class FaultyViews(ScriptedViews):
    """Source of views that breaks."""

    async def after(self, number: int) -> WatchView:
        raise RuntimeError(f"broken after {number}\x1b[2J")


async def test_a_page_that_does_not_follow_any_more_is_not_healthy(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        served(FaultyViews(fleet_view(1))) as listener,
        httpx.AsyncClient(base_url=listener.url, trust_env=False) as client,
    ):
        answer = await client.get("/-/healthy")
        assert answer.status_code == 503
        assert (
            answer.text
            == "the page does not follow the watch any more: RuntimeError: broken after 1\\x1b[2J\n"
        )
        assert (await client.get("/")).status_code == 200
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_the_age_of_the_registrys_answer_is_that_of_the_newest_one_whether_it_brought_news_or_not() -> (
    None
):
    now = datetime.now(UTC)
    answers = {"sin": now, "fra": now - timedelta(seconds=2)}
    sources = PageSources(ScriptedViews(view(1, sample.clean())), answers=lambda: answers)
    async with served_page(WatchSettings(listen="127.0.0.1:0"), sources) as listener:
        assert listener is not None
        async with httpx.AsyncClient(base_url=listener.url, trust_env=False) as client:
            text = (await client.get("/metrics")).text
            page = (await client.get("/")).text
    (age,) = re.findall(r"^wgaudit_watch_registry_answer_age_seconds\S* (\S+)", text, re.MULTILINE)
    assert 2 <= float(age) < 2 + (datetime.now(UTC) - now).total_seconds()
    assert f"{answers['fra']:%H:%M:%S} UTC" in page


async def test_a_loop_that_does_not_turn_is_not_healthy() -> None:
    sources = PageSources(
        ScriptedViews(fleet_view(1)), sick=lambda: "the watch's loop has not turned for 40 s"
    )
    async with served_page(WatchSettings(listen="127.0.0.1:0"), sources) as listener:
        assert listener is not None
        async with httpx.AsyncClient(base_url=listener.url, trust_env=False) as client:
            answer = await client.get("/-/healthy")
    assert (answer.status_code, answer.text) == (503, "the watch's loop has not turned for 40 s\n")
