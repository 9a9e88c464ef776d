"""What reads foreign bytes, with inputs to start from: it succeeds, or ends with an error of ours in one line."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from auditor.errors import ConfigError, JournalError, PlanError, ProbeError, SnapshotError
from auditor.judge import judge
from auditor.nodes.known_hosts import KnownLines, RevocationError
from auditor.nodes.probe.probe import ProbeAnswer, format_answer, parse_answer
from auditor.nodes.ssh_config import LocalFacts, SshConfig, UnfollowableLine
from auditor.registry.file import FileRegistry
from auditor.repair.apply.journal import Journal
from auditor.repair.plan import plan_v1
from auditor.reports import json_v1
from auditor.settings.consul import ConsulSettings
from auditor.settings.file import load_config
from auditor.state.recording import from_json
from auditor.values.addresses import Prefix
from auditor.values.models import Device, RouteTable
from tests.cases import CASES
from tests.fleets import key_of

FACTS = LocalFacts("root", "/root", "here", 0, {}, list, lambda _: False)
PLAN = "c8dcb95a20"


@dataclass(frozen=True)
class FuzzTarget:
    """One reader, the errors that it may end with, and its corpus."""

    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    corpus: tuple[bytes, ...]


def _files(*patterns: str) -> tuple[bytes, ...]:
    found = (path for pattern in patterns for path in sorted(CASES.glob(pattern)) if path.is_file())
    return tuple(path.read_bytes() for path in found)


def _in_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def reading(raw: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "input"
            path.write_bytes(raw)
            return read(path)

    return reading


def _judged(raw: bytes) -> str:
    return json_v1.render(judge(from_json(raw, "recording")))


def _exported(path: Path) -> object:
    settings = ConsulSettings.model_validate({"file": str(path)})
    return asyncio.run(FileRegistry(path, settings).read())


def _journal(path: Path) -> object:
    with Journal(path, PLAN) as journal:
        return journal.entries


def _resolved(raw: bytes) -> object:
    return SshConfig("config", raw, lambda _: ()).resolve("edge-sin-1", FACTS)


def _known(raw: bytes) -> object:
    return KnownLines([("known_hosts", raw)]).all(["edge-sin-1", "198.18.0.12"])


def _answers() -> Iterable[bytes]:
    key, prefix = key_of("edge-sin-1"), Prefix("10.0.0.1/32")
    device = Device("wg0", key, (prefix,))
    yield format_answer(ProbeAnswer(device, "a" * 64))
    yield format_answer(ProbeAnswer(device, table=RouteTable(f"{key}\t{prefix}\n".encode())))


def targets() -> dict[str, FuzzTarget]:
    """All of them, by name."""
    return {
        "probe-answer": FuzzTarget(lambda raw: parse_answer(raw, "wg0"), (ProbeError,), tuple(_answers())),
        "known-hosts": FuzzTarget(
            _known, (RevocationError,), _files("hostile/known_hosts*", "nodes/*known*/*")
        ),
        "ssh-config": FuzzTarget(_resolved, (UnfollowableLine,), _files("nodes/*ssh_config/*")),
        "kv-export": FuzzTarget(_in_file(_exported), (), _files("hostile/kv-*", "registry/*.json")),
        "recording": FuzzTarget(_judged, (SnapshotError,), _files("hostile/rec-*")),
        "plan": FuzzTarget(
            lambda raw: plan_v1.from_json(raw, "plan"), (PlanError,), _files("hostile/plan-*")
        ),
        "journal": FuzzTarget(_in_file(_journal), (JournalError,), _files("hostile/journal-*")),
        "configuration": FuzzTarget(
            _in_file(load_config),
            (ConfigError,),
            (
                b"[consul]\nurl = 'http://127.0.0.1:8500'\ntimeout = 2.5\n[ssh]\nport = 22\nhost = '{ssh_host}'\n",
            ),
        ),
    }
