"""Runs of `wgaudit` in a lab, and what they said."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cli.warm_start import starter

_WITHIN = 180.0  # seconds; an apply of four moves on a busy machine


@dataclass(frozen=True)
class Sweep:
    """What one run of `wgaudit` said."""

    code: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        """The JSON report. Fails with what there was instead."""
        try:
            document = json.loads(self.stdout)
        except ValueError:
            raise AssertionError(
                f"no JSON on stdout (exit {self.code}): {self.stdout[:500]!r}\n{self.stderr[-3000:]}"
            ) from None
        assert isinstance(document, dict)
        return document

    def findings(self, check: str) -> list[dict[str, Any]]:
        """The findings of one check."""
        return [finding for finding in self.report["findings"] if finding["check"] == check]

    def subjects(self, check: str) -> set[str]:
        """What the findings of one check are about."""
        return {finding["subject"] for finding in self.findings(check)}

    def roots(self) -> set[tuple[str, str]]:
        """Check and subject of each finding that follows from no other: what somebody is paged for."""
        return {
            (finding["check"], finding["subject"])
            for finding in self.report["findings"]
            if finding["caused_by"] is None
        }

    def gaps(self) -> set[tuple[str | None, str]]:
        """Node and reason of each gap."""
        return {(gap["node"], gap["reason"]) for gap in self.report["gaps"]}


def finish(process: subprocess.Popen[str]) -> Sweep:
    """Waits for a sweep that was started."""
    with process:
        try:
            stdout, stderr = process.communicate(timeout=_WITHIN)
        except BaseException:
            process.kill()
            raise
    return Sweep(process.returncode, stdout, stderr)


def forked(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], network: str, first: Sequence[str]
) -> Sweep:
    """Runs `wgaudit` to its end in that network namespace, without the seconds of its start."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
        code = starter().run(words, folder, environment, files, network=network, first=first, within=_WITHIN)
        for file in files:
            file.seek(0)
        _, stdout, stderr = (file.read() for file in files)
    return Sweep(code, stdout, stderr)
