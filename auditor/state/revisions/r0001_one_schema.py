"""Take over a file of SQLite from the time when each part had a version of its own.

Until then the table `parts` said how many of the scripts below a file had been through. They are as they were.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None

HISTORY: tuple[str, ...] = (
    """
    CREATE TABLE history_sweeps (
        number INTEGER PRIMARY KEY,
        started_at TEXT NOT NULL,
        finished_at TEXT NOT NULL,
        verdict TEXT NOT NULL,
        registered INTEGER NOT NULL,
        observed INTEGER NOT NULL,
        findings TEXT NOT NULL,
        gaps INTEGER NOT NULL,
        cut_short TEXT
    ) STRICT;
    CREATE INDEX history_sweeps_by_time ON history_sweeps (finished_at);
    CREATE TABLE history_findings (
        fingerprint TEXT PRIMARY KEY,
        check_ident TEXT NOT NULL,
        severity TEXT NOT NULL,
        subject TEXT NOT NULL,
        summary TEXT NOT NULL,
        nodes TEXT NOT NULL,
        caused_by TEXT,
        first_seen TEXT NOT NULL,
        last_seen TEXT NOT NULL,
        resolved_at TEXT
    ) STRICT;
    CREATE INDEX history_findings_by_time ON history_findings (last_seen);
    """,
    # The number was the alerts' own; from here on it is the history's, and is never given twice.
    """
    CREATE TABLE history_sweeps_numbered (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        started_at TEXT NOT NULL,
        finished_at TEXT NOT NULL,
        verdict TEXT NOT NULL,
        registered INTEGER NOT NULL,
        observed INTEGER NOT NULL,
        findings TEXT NOT NULL,
        gaps INTEGER NOT NULL,
        cut_short TEXT
    ) STRICT;
    INSERT INTO history_sweeps_numbered SELECT * FROM history_sweeps ORDER BY number;
    DROP TABLE history_sweeps;
    ALTER TABLE history_sweeps_numbered RENAME TO history_sweeps;
    CREATE INDEX history_sweeps_by_time ON history_sweeps (finished_at);
    """,
    # What each sweep saw: sweeps that saw the same share one content. And what became of findings, and was done.
    """
    CREATE TABLE history_contents (
        digest TEXT PRIMARY KEY,
        body BLOB NOT NULL
    ) STRICT;
    ALTER TABLE history_sweeps ADD COLUMN content TEXT;
    ALTER TABLE history_findings ADD COLUMN address TEXT NOT NULL DEFAULT '';
    ALTER TABLE history_findings ADD COLUMN regions TEXT NOT NULL DEFAULT '[]';
    CREATE TABLE history_changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        sweep INTEGER,
        fingerprint TEXT NOT NULL,
        change TEXT NOT NULL,
        severity TEXT NOT NULL,
        nodes TEXT NOT NULL
    ) STRICT;
    CREATE INDEX history_changes_by_finding ON history_changes (fingerprint, id);
    CREATE INDEX history_changes_by_time ON history_changes (at);
    INSERT INTO history_changes
        SELECT NULL, first_seen, NULL, fingerprint, 'first-seen', severity, nodes FROM history_findings;
    INSERT INTO history_changes
        SELECT NULL, resolved_at, NULL, fingerprint, 'resolved', severity, nodes FROM history_findings
        WHERE resolved_at IS NOT NULL;
    CREATE TABLE history_operations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        at TEXT NOT NULL,
        made_by TEXT NOT NULL,
        reference TEXT NOT NULL,
        path TEXT NOT NULL,
        addresses TEXT NOT NULL,
        nodes TEXT NOT NULL,
        ended_at TEXT,
        outcome TEXT NOT NULL
    ) STRICT;
    CREATE INDEX history_operations_by_time ON history_operations (at);
    """,
    # Registrations, and what became of each: Consul's KV has no history of its own.
    """
    CREATE TABLE history_registrations (
        datacenter TEXT NOT NULL,
        node TEXT NOT NULL,
        body TEXT NOT NULL,
        missing_not_before TEXT,
        missing_not_after TEXT,
        gone INTEGER,
        PRIMARY KEY (datacenter, node)
    ) STRICT;
    CREATE TABLE history_registry_reads (
        datacenter TEXT PRIMARY KEY,
        first_at TEXT NOT NULL,
        last_began_at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE history_registration_changes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        datacenter TEXT NOT NULL,
        node TEXT NOT NULL,
        kind TEXT NOT NULL,
        before TEXT,
        after TEXT,
        not_before TEXT NOT NULL,
        not_after TEXT NOT NULL,
        seen_by TEXT NOT NULL,
        consul_index INTEGER,
        sweep INTEGER
    ) STRICT;
    CREATE INDEX history_registration_changes_by_node ON history_registration_changes (datacenter, node, id);
    CREATE INDEX history_registration_changes_by_time ON history_registration_changes (not_after);
    """,
    # Nodes that were taken out of production and not put back.
    """
    CREATE TABLE history_drained (
        datacenter TEXT NOT NULL,
        name TEXT NOT NULL,
        since TEXT NOT NULL,
        made_by TEXT NOT NULL,
        how TEXT NOT NULL,
        reason TEXT NOT NULL,
        plan TEXT NOT NULL,
        PRIMARY KEY (datacenter, name)
    ) STRICT;
    """,
)

ALERTS: tuple[str, ...] = (
    """
    CREATE TABLE alerts_memory (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        sweep INTEGER NOT NULL,
        blind_sweeps INTEGER NOT NULL,
        registered INTEGER,
        registered_at TEXT
    ) STRICT;
    INSERT INTO alerts_memory VALUES (1, 0, 0, NULL, NULL);
    CREATE TABLE alerts_standing (
        fingerprint TEXT PRIMARY KEY,
        last_sweep INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE alerts_seen (
        place TEXT PRIMARY KEY,
        sweep INTEGER NOT NULL,
        at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE alerts_notices (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        notifier TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        reason TEXT NOT NULL,
        status TEXT NOT NULL,
        body TEXT NOT NULL,
        created_at TEXT NOT NULL,
        state TEXT NOT NULL,
        at TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        declined INTEGER NOT NULL,
        detail TEXT NOT NULL
    ) STRICT;
    CREATE INDEX alerts_notices_by_pair ON alerts_notices (notifier, fingerprint, id);
    CREATE INDEX alerts_notices_by_incident ON alerts_notices (fingerprint, id);
    CREATE INDEX alerts_notices_by_state ON alerts_notices (state, notifier, id);
    CREATE TABLE alerts_waits (
        notifier TEXT PRIMARY KEY,
        not_before TEXT NOT NULL
    ) STRICT;
    CREATE TABLE alerts_silences (
        ident TEXT PRIMARY KEY,
        ends_at TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    """,
    "ALTER TABLE alerts_notices ADD COLUMN unanswered INTEGER NOT NULL DEFAULT 0",
    """
    ALTER TABLE alerts_memory ADD COLUMN registered_in TEXT;
    CREATE TABLE alerts_ended (
        fingerprint TEXT PRIMARY KEY,
        first_seen TEXT NOT NULL,
        at TEXT NOT NULL,
        flapping_since TEXT
    ) STRICT;
    CREATE TABLE alerts_unseen (
        place TEXT PRIMARY KEY,
        sweep INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE alerts_unsettled (
        place TEXT PRIMARY KEY
    ) STRICT;
    CREATE TABLE alerts_drifted (
        place TEXT PRIMARY KEY,
        public_key TEXT NOT NULL
    ) STRICT;
    """,
    # When the cause of what a watch tells arrived; and what changed last, for its page.
    """
    ALTER TABLE alerts_notices ADD COLUMN arrived_at TEXT;
    CREATE INDEX alerts_notices_by_arrival ON alerts_notices (arrived_at) WHERE arrived_at IS NOT NULL;
    CREATE INDEX alerts_notices_by_time ON alerts_notices (at, id);
    """,
)

LEASE = """
    CREATE TABLE state_lease (
        name TEXT PRIMARY KEY,
        holder TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        until TEXT NOT NULL
    ) STRICT
"""


def upgrade() -> None:
    """Bring both parts to their last versions; from here on one revision stands for all."""
    rows = op.get_bind().execute(text("SELECT part, version FROM parts"))
    found: dict[str, int] = {row.part: row.version for row in rows}
    for part, scripts in (("history", HISTORY), ("alerts", ALERTS)):
        for script in scripts[found.get(part, 0) :]:
            for statement in filter(None, map(str.strip, script.split(";"))):
                op.get_bind().exec_driver_sql(statement)
    op.get_bind().exec_driver_sql(LEASE)
    # Programs from before the revisions refuse the file as newer, by what they look at.
    beyond = text("INSERT OR REPLACE INTO parts VALUES ('history', :history), ('alerts', :alerts)")
    op.get_bind().execute(beyond, {"history": len(HISTORY) + 1, "alerts": len(ALERTS) + 1})
