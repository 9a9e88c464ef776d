"""Tables of alerting's part of the state database, version by version, and its longer statements."""

from __future__ import annotations

PART = "alerts"
MIGRATIONS: tuple[str, ...] = (
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

PAGES = """
    SELECT notifier, fingerprint, created_at FROM (
        SELECT id, notifier, fingerprint, created_at,
            row_number() OVER (PARTITION BY notifier, fingerprint ORDER BY id DESC) AS age
        FROM alerts_notices
        WHERE status = 'firing' AND state IN ('pending', 'accepted') AND created_at >= ?
    ) WHERE age <= 2 ORDER BY id
"""
"""Last two firing notifications of each incident to each notifier, of those planned since a time."""

PRUNE: tuple[str, ...] = (
    """
    DELETE FROM alerts_notices AS old WHERE at < :limit
    AND NOT EXISTS (
        SELECT 1 FROM alerts_notices AS waits WHERE waits.notifier = old.notifier
        AND waits.fingerprint = old.fingerprint AND waits.state = 'pending'
        AND waits.at >= :limit
    )
    AND NOT (
        status = 'firing'
        AND (state = 'accepted' OR fingerprint IN (SELECT fingerprint FROM alerts_standing))
        AND NOT EXISTS (
            SELECT 1 FROM alerts_notices AS newer WHERE newer.notifier = old.notifier
            AND newer.fingerprint = old.fingerprint AND newer.id > old.id
            AND newer.state IN ('accepted', 'closed')
        )
    )
    """,
    "DELETE FROM alerts_silences WHERE ends_at < :limit",
    """
    DELETE FROM alerts_seen WHERE at < :limit
    AND sweep < (SELECT coalesce(min(last_sweep), sweep + 1) FROM alerts_standing)
    """,
)
"""Statements that delete records older than `:limit` which no plan needs; see `NotificationLog.prune`."""

STALE = """
    SELECT id FROM alerts_notices AS dead WHERE state = 'dead' AND EXISTS (
        SELECT 1 FROM alerts_notices AS newer WHERE newer.notifier = dead.notifier
        AND newer.fingerprint = dead.fingerprint AND newer.id > dead.id AND newer.state <> 'dead'
    )
"""
"""Dead letters that something newer took the place of."""

LAST_BEFORE = """
    SELECT status FROM alerts_notices WHERE notifier = ? AND fingerprint = ? AND id < ?
    AND (
        state IN ('accepted', 'pending')
        OR (state = 'dead' AND status = 'firing' AND attempts > declined)
    )
    ORDER BY id DESC LIMIT 1
"""
"""Last notification of an incident that the other side may have received before this one's turn."""

PREVIOUS = """
    SELECT max(id) FROM alerts_notices WHERE notifier = ? AND fingerprint = ? AND id < ?
    AND reason = ? AND state = 'accepted'
"""
"""Last accepted notification of an incident before this one, for the same reason."""
