"""Notification log in SQLite: standing incidents, notifications with their outcome, the outbox, and silences.

One table, `alerts_notices`, holds every notification from the moment it was planned. Its `state` says
where it is, and changes in one statement, so a process that dies leaves it in one place or the other:

    pending ──► accepted     the other side took it
       │ ▲
       ▼ │ retry
      dead                   refused for good; kept with the answer
    dropped                  a resolve with nothing to resolve: its trigger was never taken
    closed                   over, and its notifier does not want to hear of resolves

`id` grows with each plan and never changes, so it is also the order of delivery.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from alerts.between_rounds import News
from alerts.memory.forms import (
    read_place,
    read_silence,
    read_standing,
    write_incident,
    write_place,
    write_silence,
    write_standing,
)
from alerts.memory.lately import FirstWord, first_words, newest_notices
from alerts.memory.notices import MAX_DETAIL, Row, State, entry, read_row
from alerts.memory.tables import LAST_BEFORE, PAGES, PREVIOUS, PRUNE, STALE
from alerts.memory.tables import MIGRATIONS as MIGRATIONS
from alerts.memory.tables import PART as PART
from alerts.models import AlertPlan, Baseline, Ended, Log, Notification, NotifyReason, Silence, Status
from alerts.silences import expired
from auditor.errors import InvalidValue, StateError, UsageError
from auditor.values.addresses import PublicKey, parse_public_key
from auditor.values.models import Memory, NodeId
from auditor.values.text import one_line, stored_time


class NotificationLog:
    """Alerting's part of the state database.

    `keep` and `prune` leave the transaction to the caller; each other method that writes is a whole one.
    All raise `StateError` where the database can't be read or written.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._file = connection.execute("PRAGMA database_list").fetchone()[2]

    # -- planning

    def log(self, since: datetime | None = None) -> Log:
        """Read the memory that the next plan is made from.

        since: time before which a last word that an incident is over is left out, and so are pages; None: nothing is.
        """
        limit = "" if since is None else stored_time(since)
        with self._reported():
            memory = self._connection.execute("SELECT * FROM alerts_memory").fetchone()
            standing = self._connection.execute("SELECT fingerprint, body FROM alerts_standing").fetchall()
            seen = self._connection.execute("SELECT place, sweep FROM alerts_seen").fetchall()
            latest = self._rows(
                "id IN (SELECT max(id) FROM alerts_notices GROUP BY notifier, fingerprint) "
                "AND (status = 'firing' OR at >= ?)",
                (limit,),
            )
            paged = self._connection.execute(PAGES, (limit,)).fetchall()
            ended = self._connection.execute("SELECT * FROM alerts_ended").fetchall()
            unseen = self._connection.execute("SELECT * FROM alerts_unseen").fetchall()
            drifted = self._drifted()
        places = {read_place(row["place"]): row["sweep"] for row in seen}
        pages: dict[tuple[str, str], tuple[datetime, ...]] = {}
        for row in paged:
            pair = row["notifier"], row["fingerprint"]
            pages[pair] = (*pages.get(pair, ()), datetime.fromisoformat(row["created_at"]))
        return Log(
            sweep=memory["sweep"] + 1,
            entries={
                pair: replace(entry(row), pages=pages.get(pair, ()))
                for row in latest
                for pair in [(row.notification.notifier, row.notification.incident.fingerprint)]
            },
            standing={row["fingerprint"]: read_standing(row["body"]) for row in standing},
            nodes={NodeId(*place): sweep for place, sweep in places.items() if len(place) == 2},
            datacenters={place[0]: sweep for place, sweep in places.items() if len(place) == 1},
            blind_sweeps=memory["blind_sweeps"],
            baseline=_baseline(memory),
            ended={row["fingerprint"]: _ended(row) for row in ended},
            unseen={_node(row["place"]): row["sweep"] for row in unseen},
            drifted=drifted,
        )

    def memory(self) -> Memory:
        """Read the part of the memory that helps to judge the next sweep."""
        with self._reported():
            unsettled = self._connection.execute("SELECT place FROM alerts_unsettled").fetchall()
            return Memory(
                drifted=self._drifted(),
                unsettled=frozenset(_node(row["place"]) for row in unsettled),
            )

    def _drifted(self) -> dict[NodeId, PublicKey]:
        rows = self._connection.execute("SELECT * FROM alerts_drifted").fetchall()
        try:
            return {_node(row["place"]): parse_public_key(row["public_key"]) for row in rows}
        except InvalidValue:
            raise StateError("the state database holds a record that cannot be read (public key)") from None

    def keep(self, plan: AlertPlan, sweep: int, now: datetime) -> None:
        """Store a plan and put its notifications into the outbox, in the caller's transaction."""
        baseline = plan.baseline
        places = {write_place(*node): number for node, number in plan.nodes.items()}
        places |= {write_place(name): number for name, number in plan.datacenters.items()}
        with self._reported():
            self._connection.execute(
                """
                UPDATE alerts_memory
                SET sweep = ?, blind_sweeps = ?, registered = ?, registered_at = ?, registered_in = ?
                """,
                (
                    sweep,
                    plan.blind_sweeps,
                    baseline and baseline.registered,
                    baseline and stored_time(baseline.at),
                    baseline and write_place(*sorted(baseline.datacenters)),
                ),
            )
            for table in ("alerts_ended", "alerts_unseen", "alerts_unsettled", "alerts_drifted"):
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  (a literal of this file)
            self._connection.executemany(
                "INSERT INTO alerts_ended VALUES (?, ?, ?, ?)",
                [
                    (
                        mark,
                        stored_time(item.first_seen),
                        stored_time(item.at),
                        item.flapping_since and stored_time(item.flapping_since),
                    )
                    for mark, item in plan.ended.items()
                ],
            )
            self._connection.executemany(
                "INSERT INTO alerts_unseen VALUES (?, ?)",
                [(write_place(*node), began) for node, began in plan.unseen.items()],
            )
            self._connection.executemany(
                "INSERT INTO alerts_unsettled VALUES (?)", [(write_place(*node),) for node in plan.unsettled]
            )
            self._connection.executemany(
                "INSERT INTO alerts_drifted VALUES (?, ?)",
                [(write_place(*node), key) for node, key in plan.drifted.items()],
            )
            self._connection.execute("DELETE FROM alerts_standing")
            self._connection.executemany(
                "INSERT INTO alerts_standing VALUES (?, ?, ?)",
                [(mark, item.last_sweep, write_standing(item)) for mark, item in plan.standing.items()],
            )
            self._keep_seen(places, now)
            for notification in plan.notifications:
                self._enqueue(notification, now)
            for notifier, mark in plan.closed:
                self._close(notifier, mark, now)

    def keep_news(self, news: News, now: datetime, arrived_at: datetime | None = None) -> None:
        """Store what is told between two rounds and put it into the outbox, in the caller's transaction.

        arrived_at: time when the cause of the news arrived here; None: not known.
        """
        with self._reported():
            self._connection.executemany(
                "INSERT OR REPLACE INTO alerts_standing VALUES (?, ?, ?)",
                [(mark, item.last_sweep, write_standing(item)) for mark, item in news.standing.items()],
            )
            self._connection.executemany(
                "DELETE FROM alerts_ended WHERE fingerprint = ?", [(mark,) for mark in news.standing]
            )
            self._keep_seen({write_place(*node): number for node, number in news.nodes.items()}, now)
            for notification in news.notifications:
                self._insert(notification, State.PENDING, now, "", arrived_at)

    def _keep_seen(self, places: Mapping[str, int], now: datetime) -> None:
        self._connection.executemany(
            """
            INSERT INTO alerts_seen VALUES (?, ?, ?) ON CONFLICT (place)
            DO UPDATE SET sweep = excluded.sweep, at = excluded.at WHERE sweep <> excluded.sweep
            """,
            [(place, number, stored_time(now)) for place, number in places.items()],
        )

    def _enqueue(self, notification: Notification, now: datetime) -> None:
        pair = (notification.notifier, notification.incident.fingerprint)
        if notification.reason is NotifyReason.REPEAT_INTERVAL_ELAPSED:
            (last,) = self._rows("notifier = ? AND fingerprint = ? ORDER BY id DESC LIMIT 1", pair) or (None,)
            if last is not None and last.state is State.PENDING:
                # A waiting notification is not planned twice; it brings the newer facts when it goes.
                body = write_incident(notification.incident)
                self._connection.execute("UPDATE alerts_notices SET body = ? WHERE id = ?", (body, last.id))
                return
        ident = self._insert(notification, State.PENDING, now, "")
        if notification.status is Status.RESOLVED and not self._fires_there(*pair, ident):
            self._move([ident], State.DROPPED, "not sent: its trigger was never taken", now)

    def _close(self, notifier: str, mark: str, now: datetime) -> None:
        (last,) = self._rows(
            "notifier = ? AND fingerprint = ? ORDER BY id DESC LIMIT 1", (notifier, mark)
        ) or (None,)
        if last is not None:
            over = replace(last.notification, reason=NotifyReason.RESOLVED, status=Status.RESOLVED)
            self._insert(over, State.CLOSED, now, "not sent: this notifier does not want resolves")

    # -- delivery

    def waiting(self) -> dict[str, int]:
        """Count the waiting notifications of each notifier; one without any is left out."""
        with self._reported():
            rows = self._connection.execute(
                "SELECT notifier, count(*) FROM alerts_notices WHERE state = 'pending' GROUP BY notifier"
            ).fetchall()
        return dict(rows)

    def pending(self, notifier: str, limit: int = -1) -> list[Row]:
        """List one notifier's waiting notifications, in the order of delivery; at most `limit`, -1 for all."""
        with self._reported():
            return self._rows("state = 'pending' AND notifier = ? ORDER BY id LIMIT ?", (notifier, limit))

    def not_before(self, notifier: str) -> datetime | None:
        """Read the time before which the other side asked not to be called; None if it did not ask."""
        with self._reported():
            row = self._connection.execute(
                "SELECT not_before FROM alerts_waits WHERE notifier = ?", (notifier,)
            ).fetchone()
        return datetime.fromisoformat(row[0]) if row else None

    def calling(self, rows: Sequence[Row]) -> None:
        """Record that a call is about to be made: from here on they may arrive, even if this process dies."""
        self._count("UPDATE alerts_notices SET attempts = attempts + 1 WHERE id = ?", rows)

    def declined(self, rows: Sequence[Row]) -> None:
        """Record that the call ended with a clear no: the notifications did not arrive."""
        self._count("UPDATE alerts_notices SET declined = declined + 1 WHERE id = ?", rows)

    def unanswered(self, rows: Sequence[Row]) -> dict[int, int]:
        """Record that the call ended without a clear answer; return the number of such calls by notification."""
        self._count("UPDATE alerts_notices SET unanswered = unanswered + 1 WHERE id = ?", rows)
        with self._reported():
            statement = "SELECT unanswered FROM alerts_notices WHERE id = ?"
            return {row.id: self._connection.execute(statement, (row.id,)).fetchone()[0] for row in rows}

    def accepted(self, rows: Sequence[Row], detail: str, now: datetime) -> None:
        """Record that the other side accepted the notifications: they leave the outbox."""
        with self._transaction():
            self._move([row.id for row in rows], State.ACCEPTED, detail, now)
            self._connection.executemany(
                "DELETE FROM alerts_waits WHERE notifier = ?", {(row.notification.notifier,) for row in rows}
            )
            self._forget_repeats(rows, State.ACCEPTED)

    def refused(self, rows: Sequence[Row], detail: str, now: datetime) -> None:
        """Record that the other side refused the notifications for good: they become dead letters.

        A resolve that waits for a trigger that never arrived is dropped with it. If the trigger may have
        arrived (the process died, or no answer came), the resolve still goes.
        """
        with self._transaction():
            self._move([row.id for row in rows], State.DEAD, detail, now)
            self._forget_repeats(rows, State.DEAD)
            for pair in {(row.notification.notifier, row.notification.incident.fingerprint) for row in rows}:
                waiting = self._rows(
                    "notifier = ? AND fingerprint = ? AND state = 'pending' ORDER BY id", pair
                )
                for row in waiting:
                    resolves = row.notification.status is Status.RESOLVED
                    if resolves and not self._fires_there(*pair, row.id):
                        self._move([row.id], State.DROPPED, "not sent: its trigger was refused", now)

    def postponed(self, rows: Sequence[Row], detail: str, not_before: datetime | None, now: datetime) -> None:
        """Record a failed attempt that may succeed later: the notifications stay in the outbox."""
        with self._transaction():
            self._move([row.id for row in rows], State.PENDING, detail, now)
            if not_before is not None:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO alerts_waits VALUES (?, ?)",
                    {(row.notification.notifier, stored_time(not_before)) for row in rows},
                )

    # -- for people

    def outbox(self) -> list[Row]:
        """List all waiting notifications, by notifier and in order."""
        with self._reported():
            return self._rows("state = 'pending' ORDER BY notifier, id", ())

    def dead_letters(self) -> list[Row]:
        """List all notifications that were refused for good, oldest first."""
        with self._reported():
            return self._dead()

    def undelivered(self) -> list[Row]:
        """List waiting notifications, and dead letters of standing incidents that nothing newer replaced."""
        with self._reported():
            standing = {row[0] for row in self._connection.execute("SELECT fingerprint FROM alerts_standing")}
            dead = [
                row
                for row in self._dead()
                if not row.stale and row.notification.incident.fingerprint in standing
            ]
            return self._rows("state = 'pending' ORDER BY notifier, id", ()) + dead

    def retry(self, idents: Collection[int] | None, now: datetime) -> list[Row]:
        """Put dead letters (None: all) back at their old place in the outbox; return those that went back.

        A stale one stays: its incident is over, or its newer state has been sent. Raises `UsageError`
        for a number that is no dead letter.
        """
        with self._transaction():
            dead = {row.id: row for row in self._dead()}
            unknown = sorted(set(idents or ()) - dead.keys())
            if unknown:
                raise UsageError(f"{unknown[0]} is no dead letter")
            chosen = [row for row in dead.values() if not row.stale and (idents is None or row.id in idents)]
            self._connection.executemany(
                "UPDATE alerts_notices SET state = 'pending', unanswered = 0, at = ? WHERE id = ?",
                [(stored_time(now), row.id) for row in chosen],
            )
        return chosen

    def forget(self, notifier: str) -> int:
        """Forget all notifications to a notifier; return how many of them waited or were refused."""
        with self._transaction():
            left = self._connection.execute(
                "SELECT count(*) FROM alerts_notices WHERE notifier = ? AND state IN ('pending', 'dead')",
                (notifier,),
            ).fetchone()[0]
            self._connection.execute("DELETE FROM alerts_notices WHERE notifier = ?", (notifier,))
            self._connection.execute("DELETE FROM alerts_waits WHERE notifier = ?", (notifier,))
        return int(left)

    def life(self, fingerprint: str) -> list[Row]:
        """List all notifications of one incident, oldest first, each with its notifier and outcome."""
        with self._reported():
            return self._rows("fingerprint = ? ORDER BY id", (fingerprint,))

    def every(self) -> list[Row]:
        """List all notifications in the memory, oldest first."""
        with self._reported():
            return self._rows("TRUE ORDER BY id", ())

    def newest(self, most: int) -> list[Row]:
        """List the notifications that changed their state last, newest first; at most so many."""
        with self._reported():
            return newest_notices(self._connection, most)

    def first_words(self, since: datetime) -> list[FirstWord]:
        """List the first words on causes that arrived since then, in the order in which somebody took them."""
        with self._reported():
            return list(first_words(self._connection, since))

    # -- silences

    def silences(self) -> list[Silence]:
        """List all silences in the memory, ended ones too; the first to end first."""
        with self._reported():
            rows = self._connection.execute(
                "SELECT body FROM alerts_silences ORDER BY ends_at, ident"
            ).fetchall()
        return [read_silence(row[0]) for row in rows]

    def add_silence(self, silence: Silence) -> None:
        """Store a silence. Raises `UsageError` if there is one of its ident."""
        values = (silence.ident, stored_time(silence.ends_at), write_silence(silence))
        with self._transaction():
            added = self._connection.execute(
                "INSERT INTO alerts_silences VALUES (?, ?, ?) ON CONFLICT DO NOTHING", values
            ).rowcount
        if not added:
            raise UsageError(f"there is a silence {silence.ident} already")

    def expire_silence(self, ident: str, now: datetime) -> Silence:
        """End a silence now, and return it. Raises `UsageError` if there is none of its ident."""
        with self._transaction():
            row = self._connection.execute(
                "SELECT body FROM alerts_silences WHERE ident = ?", (ident,)
            ).fetchone()
            if row is None:
                raise UsageError(f"there is no silence {ident}")
            silence = expired(read_silence(row[0]), now)
            self._connection.execute(
                "UPDATE alerts_silences SET ends_at = ?, body = ? WHERE ident = ?",
                (stored_time(silence.ends_at), write_silence(silence), ident),
            )
        return silence

    def prune(self, before: datetime) -> None:
        """Delete records older than that which no plan needs, in the caller's transaction.

        What stays, whatever its age: what stands; the newest word to each notifier on an incident that
        stands or that it still takes for firing; all of one incident to a notifier of which something
        younger waits; and where nodes were last seen, if something that stands was last seen no later.
        """
        limit = stored_time(before)
        with self._reported():
            for statement in PRUNE:
                self._connection.execute(statement, {"limit": limit})

    # -- inside

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Turn SQLite's errors into `StateError`s that name the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(f"{self._file}: {error}; see docs/alerts.md#the-state-database") from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._reported(), self._connection:
            yield

    def _rows(self, where: str, values: Sequence[object]) -> list[Row]:
        # `where` is only ever a literal of this file.
        found = self._connection.execute(f"SELECT * FROM alerts_notices WHERE {where}", values)  # noqa: S608
        return [read_row(row) for row in found.fetchall()]

    def _dead(self) -> list[Row]:
        newer = {row[0] for row in self._connection.execute(STALE)}
        return [replace(row, stale=row.id in newer) for row in self._rows("state = 'dead' ORDER BY id", ())]

    def _insert(
        self,
        notification: Notification,
        state: State,
        now: datetime,
        detail: str,
        arrived_at: datetime | None = None,
    ) -> int:
        cursor = self._connection.execute(
            """
            INSERT INTO alerts_notices (
                notifier, fingerprint, reason, status, body, created_at, state, at, attempts, declined, detail,
                arrived_at
            )
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?)
            """,
            (
                notification.notifier,
                notification.incident.fingerprint,
                notification.reason.value,
                notification.status.value,
                write_incident(notification.incident),
                stored_time(now),
                state.value,
                stored_time(now),
                detail,
                arrived_at and stored_time(arrived_at),
            ),
        )
        ident = cursor.lastrowid
        assert ident is not None  # noqa: S101  (an INSERT always has one)
        return ident

    def _move(self, idents: Sequence[int], state: State, detail: str, now: datetime) -> None:
        self._connection.executemany(
            """
            UPDATE alerts_notices SET state = ?, detail = ?, at = ?
            WHERE id = ? AND state = 'pending'
            """,
            [(state.value, one_line(detail, most=MAX_DETAIL), stored_time(now), ident) for ident in idents],
        )

    def _fires_there(self, notifier: str, mark: str, ident: int) -> bool:
        """Tell whether the other side may take the incident for firing when this notification's turn comes."""
        row = self._connection.execute(LAST_BEFORE, (notifier, mark, ident)).fetchone()
        return row is not None and row[0] == Status.FIRING

    def _count(self, statement: str, rows: Sequence[Row]) -> None:
        with self._transaction():
            self._connection.executemany(statement, [(row.id,) for row in rows])

    def _forget_repeats(self, rows: Sequence[Row], state: State) -> None:
        """Delete repeated notifications, which would fill the disk, but the last one and one more to count pages."""
        repeat = NotifyReason.REPEAT_INTERVAL_ELAPSED
        for row in rows:
            if row.notification.reason is repeat:
                pair = row.notification.notifier, row.notification.incident.fingerprint
                newest = row.id
                if state is State.ACCEPTED:
                    (newest,) = self._connection.execute(PREVIOUS, (*pair, row.id, repeat.value)).fetchone()
                self._connection.execute(
                    """
                    DELETE FROM alerts_notices WHERE notifier = ? AND fingerprint = ? AND id < ?
                    AND reason = ? AND state = ? AND (state = 'accepted' OR attempts = declined)
                    """,
                    (*pair, newest, repeat.value, state.value),
                )


def _node(place: str) -> NodeId:
    return NodeId(*read_place(place))


def _baseline(row: sqlite3.Row) -> Baseline | None:
    if row["registered"] is None:
        return None
    known = row["registered_in"]
    return Baseline(
        row["registered"],
        datetime.fromisoformat(row["registered_at"]),
        frozenset(read_place(known) if known is not None else ()),
    )


def _ended(row: sqlite3.Row) -> Ended:
    since = row["flapping_since"]
    return Ended(
        datetime.fromisoformat(row["first_seen"]),
        datetime.fromisoformat(row["at"]),
        None if since is None else datetime.fromisoformat(since),
    )
