"""What reads foreign bytes, with inputs to start from: it succeeds, or ends with an error of ours in one line."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from auditor.errors import (
    ConfigError,
    JournalError,
    PlanError,
    ProbeError,
    RevocationError,
    SnapshotError,
    UnfollowableLine,
)
from auditor.judge import judge
from auditor.nodes.known_hosts import KnownLines
from auditor.nodes.probe.probe import ProbeAnswer, format_answer, parse_answer
from auditor.nodes.ssh_config import LocalFacts, SshConfig
from auditor.registry.file import FileRegistry
from auditor.registry.records import KvItem, read_kv
from auditor.repair.apply.journal import Journal
from auditor.repair.plan import plan_v1
from auditor.reports import json_v1
from auditor.reports.interface import Layout
from auditor.reports.terminal import table
from auditor.settings.consul import ConsulFields, ConsulSettings
from auditor.settings.file import load_config
from auditor.state.recording import from_json
from auditor.values.addresses import Prefix
from auditor.values.models import AuditPolicy, Device, Snapshot
from auditor.values.route_table import RouteTable
from tests.cases import CASES
from tests.fleets import key_of

FACTS = LocalFacts("root", "/root", "here", 0, {}, list, lambda _: False)
PLAN = "c8dcb95a20"
DIGEST = 64
PART = b"\n# ---\n"
"""Parts the files of one input."""


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
    """Judge and show a recording whose tables stand under their digests again."""
    try:
        tables = json.loads(raw)["tables"]
        for digest, text in tables.items():
            if len(digest) == DIGEST:
                now = hashlib.sha256(text.encode("ascii", "replace")).hexdigest()
                raw = raw.replace(digest.encode(), now.encode())
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        pass  # it is for the reader to say what is wrong
    report = judge(from_json(raw, "recording"))
    return json_v1.render(report) + table.render(report, Layout(width=100))


def _planned(raw: bytes) -> object:
    """Read a plan whose ident is that of its content, and write it again."""
    try:
        plan_v1.from_json(raw, "plan")
    except PlanError as error:
        ident = re.search(r"its content is '([0-9a-f]{10})'", str(error))
        if ident is None:
            raise
        raw = re.sub(rb'"ident": *"[^"]*"', b'"ident": "%b"' % ident[1].encode(), raw, count=1)
    return plan_v1.from_json(plan_v1.document(plan_v1.from_json(raw, "plan")).encode(), "plan")


def _recorded(raw: bytes) -> object:
    """Read a value of the registry in both layouts, and judge what is read."""
    found = [
        read_kv("kv-json", "", "wg/", [KvItem("wg/a", raw), KvItem("wg/b", raw)], ConsulFields()),
        read_kv(
            "kv-fields", "", "wg/", [KvItem("wg/a/ip", raw), KvItem("wg/a/ssh_host", raw)], ConsulFields()
        ),
    ]
    moment = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
    return [
        json_v1.render(
            judge(Snapshot(moment, moment, AuditPolicy(), one.registrations, one.invalid, others=one.others))
        )
        for one in found
    ]


def _values() -> Iterable[bytes]:
    for raw in _files("hostile/kv-*", "registry/0[0-7]*.json"):
        for item in json.loads(raw.decode("utf-8-sig")):
            if isinstance(item, dict) and item.get("value"):
                yield base64.b64decode(item["value"])


def _exported(path: Path) -> object:
    settings = ConsulSettings.model_validate({"file": str(path)})
    return asyncio.run(FileRegistry(path, settings).read())


def _journal(path: Path) -> object:
    with Journal(path, PLAN) as journal:
        return journal.entries


def _resolved(raw: bytes) -> object:
    """Resolve two hosts by a file, and by those that it includes: each `Include` takes the next part."""
    main, *parts = raw.split(PART)
    config = SshConfig("config", main, lambda _: [("included", parts.pop(0))] if parts else [])
    return [config.resolve(host, FACTS) for host in ("edge-sin-1", "::1")]


def _ssh_configs() -> Iterable[bytes]:
    for raw in _files("nodes/*ssh_config/*"):
        yield raw
        yield b"Include other\nHost *\nInclude ~/more\n" + PART + raw + b"\nInclude third\n" + PART + raw


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
        "ssh-config": FuzzTarget(_resolved, (UnfollowableLine,), tuple(_ssh_configs())),
        "kv-export": FuzzTarget(_in_file(_exported), (), _files("hostile/kv-*", "registry/*.json")),
        "kv-value": FuzzTarget(_recorded, (), tuple(_values())),
        "recording": FuzzTarget(_judged, (SnapshotError,), _files("hostile/rec-*")),
        "plan": FuzzTarget(_planned, (PlanError,), _files("hostile/plan-*")),
        "journal": FuzzTarget(_in_file(_journal), (JournalError,), _files("hostile/journal-*")),
        "configuration": FuzzTarget(
            _in_file(load_config),
            (ConfigError,),
            (
                b"[consul]\nurl = 'http://127.0.0.1:8500'\ntimeout = 2.5\n[ssh]\nport = 22\nhost = '{ssh_host}'\n",
            ),
        ),
    }
