"""A real sshd as observer, from which questions are asked at addresses of loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditor.nodes.ssh import SshAccess
from auditor.settings.ssh import SshSettings
from auditor.values.addresses import Prefix
from auditor.values.models import NodeId, Registration
from tests.parts.sshd import Sshd, make_key, public


@dataclass(frozen=True)
class Observer:
    """Node that asks: its registration, and the access that logs in to it."""

    registration: Registration
    access: SshAccess
    server: Sshd


@pytest.fixture
def observe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Observer]]:
    """Start an observer; called with the options of its key in authorized_keys, and lines of sshd_config."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with ExitStack() as stack:
        key = make_key(tmp_path / "key")

        def start(options: str = "", *, lines: tuple[str, ...] = ()) -> Observer:
            line = f"{options} {public(key)}" if options else public(key)
            server = stack.enter_context(Sshd(tmp_path / "observer", [line], lines=lines))
            known = tmp_path / "known_hosts"
            known.write_text(server.known_hosts_line)
            settings = SshSettings(
                user=server.user, identity_files=(key,), known_hosts=known, config_file=None, agent=False
            )
            return Observer(
                Registration(
                    NodeId("dc1", "observer-ams-1"),
                    None,
                    (Prefix("10.0.0.9/32"),),
                    "ams",
                    ssh_host=f"{server.host}:{server.port}",
                ),
                SshAccess(settings),
                server,
            )

        yield start
