"""Changes over a real sshd, on a real device where the device matters."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace

import pytest

from auditor.errors import ChangeFailed, ConfigError, GapReason, ProbeError
from auditor.nodes.change.changes import AddAddress, DeviceState, DropAddress, SetPeer
from auditor.nodes.change.maintenance import Maintenance
from auditor.nodes.ssh import SshAccess, SshChanger
from auditor.nodes.table_store import TableStore
from auditor.settings.ssh import SshSettings
from auditor.values.addresses import Prefix, PublicKey
from auditor.values.models import NodeId, Registration
from tests.nodes.bench import Bench
from tests.nodes.namespaces import Network
from tests.nodes.stubs import key
from tests.parts.sshd import Sshd, public

OLD, NEW = Prefix("10.0.0.1/32"), Prefix("10.9.0.7/32")
ADD = AddAddress(NEW, like=OLD)


def changer(bench: Bench, *, mesh: tuple[str, ...] = (), **settings: object) -> SshChanger:
    options: dict[str, object] = {
        "user": "root" if os.geteuid() == 0 else os.environ["USER"],
        "identity_files": [bench.identity],
        "known_hosts": bench.known_hosts,
        "config_file": None,
    }
    access = SshAccess(SshSettings.model_validate(options | settings))
    access.expect(Registration(NodeId("", "another"), key(8), (Prefix(f"{host}/32"),)) for host in mesh)
    return SshChanger(access, "wg0")


async def failing(bench: Bench, server: Sshd | str, **settings: object) -> ProbeError:
    with pytest.raises(ProbeError) as caught:
        await changer(bench, **settings).change(bench.registered(server), ADD)  # type: ignore[arg-type]
    assert str(caught.value).isprintable()
    return caught.value


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def server(bench: Bench) -> Sshd:
    return bench.sshd()


@pytest.fixture
def real(bench: Bench, server: Sshd, network: Network) -> Registration:
    """A node whose `ip` and `wg` are those of a network with a real device."""
    for name in ("ip", "wg"):
        bench.node.script(name, f'#!/bin/sh\nexec {" ".join(network.prefix)} {shutil.which(name)} "$@"\n')
    network.fresh("10.0.0.1/32")
    return replace(bench.registered(server), public_key=PublicKey(network.key))


async def test_a_node_is_renumbered_over_ssh(bench: Bench, network: Network, real: Registration) -> None:
    theirs = changer(bench)
    assert await theirs.look(real) == DeviceState(real.public_key, (OLD,))
    assert await theirs.change(real, ADD) == DeviceState(real.public_key, (OLD, NEW))
    assert await theirs.change(real, DropAddress(OLD, keep=NEW)) == DeviceState(real.public_key, (NEW,))
    assert network.addresses == ["10.9.0.7/32"]
    network.sh(f"wg set wg0 peer {key(2)}")
    await theirs.change(real, SetPeer(key(2), (OLD,)))
    assert network.sh("wg show wg0 allowed-ips") == f"{key(2)}\t10.0.0.1/32\n"


async def test_looking_and_changing_share_one_reading_of_known_hosts(
    bench: Bench, network: Network, real: Registration
) -> None:
    """The file is gone after the access was built, and both go on."""
    nodes = bench.nodes()
    bench.known_hosts.unlink()
    await SshChanger(nodes._access, "wg0").change(real, ADD)
    seen = await nodes.observe(real, TableStore())
    assert seen.device.addresses == (OLD, NEW)


async def test_a_server_in_anothers_place_is_not_changed(
    bench: Bench, network: Network, real: Registration
) -> None:
    with pytest.raises(ProbeError) as caught:
        await changer(bench).change(replace(real, public_key=key(9)), ADD)
    assert caught.value.reason is GapReason.WRONG_HOST
    assert network.addresses == ["10.0.0.1/32"]


async def test_a_refusal_of_the_node_comes_as_one(bench: Bench, server: Sshd) -> None:
    with pytest.raises(ChangeFailed) as caught:
        await changer(bench).change(bench.registered(server), DropAddress(OLD, keep=NEW))
    assert caught.value.refused
    assert str(caught.value) == "refused: wg0 does not hold 10.9.0.7"


async def test_what_cannot_be_sent_is_refused_before_anyone_is_asked(bench: Bench) -> None:
    with pytest.raises(ChangeFailed, match=r"refused: 10\.0\.0\.0/8 is not one address"):
        await changer(bench).change(bench.registered("192.0.2.1"), AddAddress(Prefix("10.0.0.0/8"), like=OLD))


async def test_with_sudo_the_whole_script_runs_under_it_and_never_asks(bench: Bench, server: Sshd) -> None:
    """sudo's log then says what was changed."""
    bench.node.script("sudo", f'#!/bin/sh\necho "sudo $*" >>{bench.node.folder}/calls\nshift; exec "$@"\n')
    await changer(bench, sudo=True).change(
        bench.registered(server), SetPeer(key(2), (Prefix("10.0.0.2/32"),))
    )
    assert bench.node.calls[0] == (
        f"sudo -n /bin/sh -s -- wgaudit-repair/1 peer wg0 {bench.node.key} {key(2)} 10.0.0.2/32"
    )


@pytest.mark.parametrize(
    "said", ["sudo: a password is required", "Sorry, user audit is not allowed to execute '/bin/sh -s'"]
)
async def test_a_refusal_of_sudo_is_told_with_its_words(bench: Bench, server: Sshd, said: str) -> None:
    warning = "sudo: unable to resolve host x: Name or service not known"
    bench.node.script("sudo", f'#!/bin/sh\nprintf \'%s\\n\' "{warning}" "{said}" >&2\nexit 1\n')
    error = await failing(bench, server, sudo=True)
    assert error.reason is GapReason.SUDO
    assert said in error.detail


async def test_an_installed_probe_cannot_be_asked_for_a_change(bench: Bench) -> None:
    """Said at once; nobody is connected to."""
    error = await failing(bench, "192.0.2.1", probe="installed")
    assert error.reason is GapReason.AUTH
    assert "another key" in error.detail
    assert "--format shell" in error.detail


async def test_a_key_that_is_forced_to_the_probe_is_told_apart(bench: Bench) -> None:
    """Where the configuration does not know that authorized_keys holds it."""
    answer = "printf 'wgaudit-probe/1 begin\\nerror unreadable refused\\nwgaudit-probe/1 end\\n'"
    server = bench.sshd(authorized=[f'restrict,command="{answer}" {public(bench.identity)}'])
    error = await failing(bench, server)
    assert error.reason is GapReason.AUTH
    assert "another key" in error.detail


@pytest.mark.parametrize(
    ("command", "reason", "said"),
    [
        ("echo This account is not available.", GapReason.AUTH, "This account is not available."),
        ("echo gone >&2; exit 7", GapReason.UNREADABLE_OUTPUT, "exit 7: gone"),
    ],
)
async def test_an_account_without_a_shell_is_told_with_its_words(
    bench: Bench, command: str, reason: GapReason, said: str
) -> None:
    server = bench.sshd(authorized=[f'restrict,command="{command}" {public(bench.identity)}'])
    error = await failing(bench, server)
    assert error.reason is reason
    assert said in error.detail


async def test_a_host_that_is_not_known_is_not_changed(bench: Bench) -> None:
    error = await failing(bench, bench.sshd(known=False))
    assert error.reason is GapReason.HOST_KEY
    assert bench.node.calls == []


async def test_no_node_is_changed_over_a_mesh_address(bench: Bench, server: Sshd) -> None:
    """Neither one that is registered as its host, nor one that a name stands for."""
    error = await failing(bench, server, mesh=("127.0.0.1",))
    assert error.reason is GapReason.MESH_HOST
    error = await failing(bench, "10.0.0.1")
    assert error.reason is GapReason.MESH_HOST
    assert bench.node.calls == []


async def test_a_change_that_does_not_end_is_told_and_not_tried_again(bench: Bench, server: Sshd) -> None:
    asked = bench.folder / "asked"
    bench.node.script("wg", f"#!/bin/sh\necho >>{asked}\nexec sleep 20\n")
    error = await failing(bench, server, command_timeout=3.0)
    assert error.reason is GapReason.COMMAND_TIMEOUT
    assert "the repair script did not end" in error.detail
    assert asked.read_text() == "\n"


def test_an_identity_that_is_not_there_is_told_before_anything_is_changed(bench: Bench) -> None:
    with pytest.raises(ConfigError):
        changer(bench, identity_files=[bench.folder / "none"])


async def test_maintenance_is_switched_by_the_node_s_own_agent_over_ssh(bench: Bench, server: Sshd) -> None:
    mode = bench.folder / "mode"
    bench.node.script(
        "consul",
        f'#!/bin/sh\necho "consul $*" >>{bench.node.folder}/calls\ncase "$*" in\n*-enable*) touch {mode} ;;\n'
        f"*-disable*) rm -f {mode} ;;\n*) [ ! -e {mode} ] || printf 'Node:\\n  Name:   x\\n' ;;\nesac\n",
    )
    theirs, node = changer(bench), bench.registered(server)
    assert await theirs.maintenance(node, Maintenance(None)) is False
    assert await theirs.maintenance(node, Maintenance(True, "who's there?")) is True
    assert "consul maint -enable -reason=who's there?" in bench.node.calls
    assert await theirs.maintenance(node, Maintenance(False)) is False


async def test_maintenance_of_a_server_in_anothers_place_is_left_alone(bench: Bench, server: Sshd) -> None:
    bench.node.script("consul", f'#!/bin/sh\necho "consul $*" >>{bench.node.folder}/calls\n')
    with pytest.raises(ProbeError) as caught:
        await changer(bench).maintenance(
            replace(bench.registered(server), public_key=key(9)), Maintenance(True, "who's there?")
        )
    assert caught.value.reason is GapReason.WRONG_HOST
    assert not any(call.startswith("consul") for call in bench.node.calls)
