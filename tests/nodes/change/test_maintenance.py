"""Consul's maintenance mode, switched by the script that changes nodes, on a real Consul with ACLs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from auditor.errors import ChangeFailed, GapReason, ProbeError
from auditor.nodes.change.maintenance import Maintenance
from auditor.nodes.change.repair_script import MOST_REASON, RepairRequest, maintenance_request, parse_repair
from tests.nodes.stubs import StubNode, key
from tests.parts import SHELLS, command_of
from tests.parts.consul import ConsulServer, consul_binary

RULES = 'node_prefix "" { policy = "write" } agent_prefix "" { policy = "read" }'
ON, OFF, ASK = Maintenance(True, "wgaudit: who answers?"), Maintenance(False), Maintenance(None)


@pytest.fixture(scope="module")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    with ConsulServer(tmp_path_factory.mktemp("consul"), acl=True) as server:
        yield server


@pytest.fixture(scope="module")
def token_file(consul: ConsulServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("token") / "maintenance"
    file.write_text(consul.create_token(RULES))
    return str(file)


@pytest.fixture
def stub(tmp_path: Path) -> StubNode:
    return StubNode(tmp_path / "node")


def asked(stub: StubNode, wish: Maintenance) -> RepairRequest:
    return maintenance_request("wg0", stub.key, wish)


def run(
    stub: StubNode, consul: ConsulServer, request: RepairRequest, shell: tuple[str, ...] = ("sh",)
) -> subprocess.CompletedProcess[bytes]:
    binary = consul_binary()
    assert binary is not None
    words = [*command_of(shell), *request.request.command.removeprefix("exec /bin/sh ").split()]
    return subprocess.run(
        words,
        input=request.request.stdin,
        capture_output=True,
        env={"PATH": f"{stub.path}:{binary.parent}", "CONSUL_HTTP_ADDR": consul.http_address},
        timeout=30,
        check=False,
    )


def switched(
    stub: StubNode, consul: ConsulServer, wish: Maintenance, shell: tuple[str, ...] = ("sh",)
) -> bool | None:
    request = asked(stub, wish)
    return parse_repair(run(stub, consul, request, shell).stdout, request).maintenance


def reason(consul: ConsulServer) -> str | None:
    """The reason that Consul has for the node's maintenance; None: it is in none."""
    checks = json.loads(consul.request("GET", "/v1/agent/checks").body)
    return checks["_node_maintenance"]["Notes"] if "_node_maintenance" in checks else None


@pytest.mark.parametrize("shell", SHELLS, ids="-".join)
def test_maintenance_is_switched_on_with_its_reason_and_off_again_and_may_be_repeated(
    stub: StubNode, consul: ConsulServer, token_file: str, shell: tuple[str, ...]
) -> None:
    on, off, ask = (replace(wish, token_file=token_file) for wish in (ON, OFF, ASK))
    assert switched(stub, consul, ask, shell) is False
    assert switched(stub, consul, on, shell) is True
    assert (switched(stub, consul, on, shell), reason(consul)) == (True, "wgaudit: who answers?")
    assert switched(stub, consul, ask, shell) is True
    assert switched(stub, consul, off, shell) is False
    assert (switched(stub, consul, off, shell), reason(consul)) == (False, None)


def test_a_hostile_reason_is_text_to_every_shell_and_is_cut(
    stub: StubNode, consul: ConsulServer, token_file: str, tmp_path: Path
) -> None:
    """A person's reason may come from a ticket that others wrote."""
    mark = tmp_path / "ran"
    hostile = f"';touch {mark};' $(touch {mark}) \nNode:\n -disable " + "x" * 1000
    assert switched(stub, consul, Maintenance(True, hostile, token_file)) is True
    said = reason(consul)
    assert said is not None
    assert (said[:20], len(said)) == (hostile[:20], MOST_REASON)
    assert not mark.exists()
    assert switched(stub, consul, Maintenance(False, "", token_file)) is False


def test_the_token_is_in_no_command_line(stub: StubNode, consul: ConsulServer, token_file: str) -> None:
    """What runs on a node is read by everybody there."""
    stub.script("consul", f'#!/bin/sh\necho "consul $*" >>"{stub.folder}/calls"\n')
    switched(stub, consul, Maintenance(None, "", token_file))
    assert f"consul maint -token-file={token_file}" in stub.calls
    assert Path(token_file).read_text() not in "".join(stub.calls)


def test_an_agent_that_may_not_is_a_failure_with_its_own_words(stub: StubNode, consul: ConsulServer) -> None:
    with pytest.raises(ChangeFailed, match=r"failed: consul maint -enable: .*403.*Permission denied"):
        switched(stub, consul, ON)
    assert reason(consul) is None


def test_a_server_in_anothers_place_is_not_drained(
    stub: StubNode, consul: ConsulServer, token_file: str
) -> None:
    request = maintenance_request("wg0", key(9), replace(ON, token_file=token_file))
    with pytest.raises(ProbeError) as caught:
        parse_repair(run(stub, consul, request).stdout, request)
    assert caught.value.reason is GapReason.WRONG_HOST
    assert reason(consul) is None


def test_a_node_without_consul_says_so(stub: StubNode) -> None:
    request = asked(stub, ON)
    words = [*command_of(("sh",)), *request.request.command.removeprefix("exec /bin/sh ").split()]
    done = subprocess.run(
        words,
        input=request.request.stdin,
        capture_output=True,
        env={"PATH": stub.path},
        timeout=30,
        check=False,
    )
    with pytest.raises(ChangeFailed, match="consul was not found"):
        parse_repair(done.stdout, request)


def test_a_token_s_file_that_is_not_there_is_named_before_anything_is_switched(
    stub: StubNode, consul: ConsulServer
) -> None:
    with pytest.raises(ChangeFailed, match=r"refused: /nowhere/token cannot be read"):
        switched(stub, consul, replace(ON, token_file="/nowhere/token"))


def test_an_answer_without_the_mode_is_none(stub: StubNode, consul: ConsulServer, token_file: str) -> None:
    request = asked(stub, replace(ASK, token_file=token_file))
    answer = run(stub, consul, request).stdout
    with pytest.raises(ProbeError, match="no line maintenance"):
        parse_repair(answer.replace(b"maintenance off\n", b""), request)
