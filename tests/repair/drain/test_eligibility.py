"""Draining by Nomad's eligibility, against a double that takes what Nomad takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from auditor.errors import DrainFailed
from auditor.repair.drain.eligibility import NomadDrainer
from auditor.repair.drain.interface import DrainTarget
from auditor.settings.nomad import NomadSettings
from auditor.values.models import NodeId, Registration
from tests.doubles.nomad import NomadDouble
from tests.doubles.server import Reply, Trouble
from tests.parts.consul import make_tls

TARGET = DrainTarget(Registration(NodeId("dc1", "edge-sin-1"), None, ()))
READ, WRITE = "4b7f-read", "4b7f-write"


@pytest.fixture
def nomad() -> Iterator[NomadDouble]:
    with NomadDouble("edge-fra-1", "edge-sin-1", "edge-sin-2") as double:
        yield double


def drainer(double: NomadDouble, token: str | None = None, **settings: object) -> NomadDrainer:
    options = {"url": double.url, "timeout": 5.0} | settings
    return NomadDrainer(
        NomadSettings.model_validate(options), SecretStr(token) if token is not None else None
    )


async def failing(drains: NomadDrainer) -> str:
    with pytest.raises(DrainFailed) as caught:
        await drains.drain(TARGET, "")
    assert str(caught.value).isprintable()
    return str(caught.value)


async def test_the_node_of_that_name_becomes_ineligible_and_eligible_again(nomad: NomadDouble) -> None:
    drains = drainer(nomad)
    assert await drains.is_drained(TARGET) is False
    await drains.drain(TARGET, "who answers?")
    assert await drains.is_drained(TARGET) is True
    assert (nomad.eligibility("edge-sin-1"), nomad.eligibility("edge-sin-2")) == (
        ["ineligible"],
        ["eligible"],
    )
    await drains.undrain(TARGET)
    assert nomad.eligibility("edge-sin-1") == ["eligible"]


async def test_what_is_so_already_is_not_written_again(nomad: NomadDouble) -> None:
    drains = drainer(nomad)
    await drains.drain(TARGET, "")
    await drains.drain(TARGET, "")
    assert [call.method for call in nomad.calls].count("PUT") == 1


async def test_of_two_nodes_of_one_name_the_one_that_is_not_down_is_meant(nomad: NomadDouble) -> None:
    nomad.node("edge-sin-1", status="down")
    await drainer(nomad).drain(TARGET, "")
    assert nomad.eligibility("edge-sin-1") == ["ineligible", "eligible"]


async def test_of_two_that_are_up_none_is_guessed(nomad: NomadDouble) -> None:
    nomad.node("edge-sin-1")
    assert "2 nodes of the name edge-sin-1" in await failing(drainer(nomad))
    assert nomad.eligibility("edge-sin-1") == ["eligible", "eligible"]


async def test_a_node_that_nomad_does_not_know_is_said(nomad: NomadDouble) -> None:
    nomad.nodes = []
    assert "no node of the name edge-sin-1" in await failing(drainer(nomad))


async def test_a_drain_of_nomad_s_own_is_not_ended_by_the_way(nomad: NomadDouble) -> None:
    nomad.nodes[1] |= {"Drain": True, "SchedulingEligibility": "ineligible"}
    with pytest.raises(DrainFailed, match="nomad node drain -disable"):
        await drainer(nomad).undrain(TARGET)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "no token was sent (node:read"),
        ("wrong", "the token may not (node:read"),
        (READ, "(node:write"),
    ],
)
async def test_a_right_that_lacks_is_named_and_the_token_is_not(token: str | None, said: str) -> None:
    with NomadDouble("edge-sin-1", read=READ, write=WRITE) as double:
        text = await failing(drainer(double, token))
        assert said in text
        assert token is None or token not in text
        await drainer(double, WRITE).drain(TARGET, "")
        assert double.eligibility("edge-sin-1") == ["ineligible"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Reply(200, b"<html>"), "not a list of Nomad's nodes"),
        (Reply(200, b'[{"ID": "../../v1/system/gc", "Name": "edge-sin-1"}]'), "not a list of Nomad's nodes"),
        (Reply(500, b"rpc error: No cluster leader \x1b[2J"), "500: rpc error: No cluster leader"),
        (Reply(302, b"", {"Location": "http://127.0.0.1:1/"}), "302"),
        (Trouble.RESET, ""),
        (Trouble.FLOOD, "500"),
    ],
)
async def test_whatever_else_answers_there_is_a_failure_in_one_line(
    nomad: NomadDouble, fault: Reply | Trouble, said: str
) -> None:
    nomad.fault = fault
    assert said in await failing(drainer(nomad))


async def test_silence_ends_in_time(nomad: NomadDouble) -> None:
    nomad.fault = Trouble.SILENCE
    assert "no whole answer within 0.3 s" in await failing(drainer(nomad, timeout=0.3))


async def test_a_write_that_nomad_took_and_did_not_make_is_no_success(nomad: NomadDouble) -> None:
    listed = Reply(200, json.dumps(nomad.nodes).encode())
    nomad.faults.extend([listed, Reply(200, b"{}"), listed])
    assert "the node is not ineligible" in await failing(drainer(nomad))


async def test_over_https_the_server_is_held_against_ca_file(tmp_path: Path) -> None:
    files = make_tls(tmp_path)
    with NomadDouble("edge-sin-1", tls=files) as double:
        await drainer(double, ca_file=files.ca).drain(TARGET, "")
        assert double.eligibility("edge-sin-1") == ["ineligible"]
        assert "certificate" in (await failing(drainer(double))).lower()
