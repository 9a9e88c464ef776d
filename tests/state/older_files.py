"""Files of SQLite as older versions wrote them: each part brought to a version of its own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from auditor.state.revisions.r0001_one_schema import ALERTS, HISTORY


def older_file(path: Path, history: int = len(HISTORY), alerts: int = len(ALERTS), rows: str = "") -> Path:
    """Makes a file with these versions of its parts. rows: SQL that puts something into it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            f"""
            PRAGMA journal_mode = WAL;
            CREATE TABLE parts (part TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT;
            {";".join((*HISTORY[:history], *ALERTS[:alerts]))};
            INSERT INTO parts VALUES ('history', {history}), ('alerts', {alerts});
            {rows};
            """  # noqa: S608  (the test's own text)
        )
    return path
