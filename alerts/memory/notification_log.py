"""Notification log in the state: standing incidents, notifications with their outcome, the outbox, and silences.

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

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, Table, Update, bindparam, delete, func, insert, select, update

from alerts.between_rounds import News
from alerts.memory import notice_statements as statements
from alerts.memory.forms import SILENCE, STANDING, read_node, read_place, write_place
from alerts.memory.memory_for_judging import (
    read_drifted,
    read_seen,
    read_silences,
    read_standing_incidents,
)
from alerts.memory.notices import MAX_DETAIL, FirstWord, Row, State, entry, read_first_word, read_row
from alerts.memory.outbox_entries import Pair, entries_of, entry_of, looked_up, pair_of
from alerts.memory.state_access import StateAccess
from alerts.memory.tables import (
    alerts_drifted,
    alerts_ended,
    alerts_memory,
    alerts_notices,
    alerts_seen,
    alerts_silences,
    alerts_standing,
    alerts_unseen,
    alerts_unsettled,
    alerts_waits,
)
from alerts.models import AlertPlan, Baseline, Ended, Log, NotifyReason, Silence
from alerts.silences import expired
from auditor.errors import StateError, UsageError
from auditor.values.models import NodeId
from auditor.values.stored_values import StoredRow, read_time, row_reader
from auditor.values.text import one_line, stored_time

T = TypeVar("T")

_ENDED = row_reader(Ended)
MOST_AT_ONCE = 500
"""Incidents in one question: databases bound what a statement holds."""


class NotificationLog:
    """Alerting's part of the state.

    Each method that writes is one transaction, or part of the one that is under way. All raise `StateError` where the
    database can't be read or written.
    """

    def __init__(self, store: StateAccess) -> None:
        self._store = store

    # -- planning

    def log(self, since: datetime | None = None) -> Log:
        """Read the memory that the next plan is made from.

        since: time before which a last word that an incident is over is left out, and so are pages; None: nothing is.
        """
        limit = "" if since is None else stored_time(since)
        with self._store.reading():
            memory = self._memory()
            standing = read_standing_incidents(self._store)
            places = read_seen(self._store)
            latest = self._rows(statements.LATEST.params(since=limit))
            paged = self._store.rows(statements.PAGES.params(since=limit))
            ended = {row["fingerprint"]: _ENDED(row) for row in self._store.rows_of("alerts_ended")}
            unseen = {read_node(row["place"]): row["sweep"] for row in self._store.rows_of("alerts_unseen")}
            drifted = read_drifted(self._store)
        pages: dict[Pair, tuple[datetime, ...]] = {}
        for row in paged:
            pair = row["notifier"], row["fingerprint"]
            pages[pair] = (*pages.get(pair, ()), read_time(row["created_at"]))
        return Log(
            sweep=memory["sweep"] + 1,
            entries={
                pair: replace(entry(row), pages=pages.get(pair, ()))
                for row in latest
                for pair in [pair_of(row.notification)]
            },
            standing=standing,
            nodes={NodeId(*place): sweep for place, sweep in places.items() if len(place) == 2},
            datacenters={place[0]: sweep for place, sweep in places.items() if len(place) == 1},
            blind_sweeps=memory["blind_sweeps"],
            baseline=_baseline(memory),
            ended=ended,
            unseen=unseen,
            drifted=drifted,
        )

    def _memory(self) -> StoredRow:
        memory = self._store.first(select(alerts_memory))
        if memory is None:
            raise StateError("the state database holds no memory of alerting, not even an empty one")
        return memory

    def keep(self, plan: AlertPlan, sweep: int, now: datetime) -> None:
        """Store a plan and put its notifications into the outbox."""
        baseline = plan.baseline
        with self._store.transaction():
            self._store.execute(
                update(alerts_memory).values(
                    sweep=sweep,
                    blind_sweeps=plan.blind_sweeps,
                    registered=baseline and baseline.registered,
                    registered_at=baseline and stored_time(baseline.at),
                    registered_in=baseline and write_place(*sorted(baseline.datacenters)),
                )
            )
            self._replace(
                alerts_ended,
                (
                    {
                        "fingerprint": mark,
                        "first_seen": stored_time(item.first_seen),
                        "at": stored_time(item.at),
                        "flapping_since": item.flapping_since and stored_time(item.flapping_since),
                    }
                    for mark, item in plan.ended.items()
                ),
            )
            self._replace(
                alerts_unseen,
                ({"place": write_place(*node), "sweep": began} for node, began in plan.unseen.items()),
            )
            self._replace(alerts_unsettled, ({"place": write_place(*node)} for node in plan.unsettled))
            self._replace(
                alerts_drifted,
                ({"place": write_place(*node), "public_key": key} for node, key in plan.drifted.items()),
            )
            self._replace(alerts_standing, _standing_rows(plan))
            places = {write_place(*node): number for node, number in plan.nodes.items()}
            places |= {write_place(name): number for name, number in plan.datacenters.items()}
            self._keep_seen(places, now)
            self._enqueue(plan, now)

    def keep_news(self, news: News, now: datetime, arrived_at: datetime | None = None) -> None:
        """Store what is told between two rounds and put it into the outbox.

        arrived_at: time when the cause of the news arrived here; None: not known.
        """
        marks = [{"mark": mark} for mark in news.standing]
        with self._store.transaction():
            for table in (alerts_standing, alerts_ended):
                self._store.execute(delete(table).where(table.c.fingerprint == bindparam("mark")), marks)
            self._store.execute(insert(alerts_standing), list(_standing_rows(news)))
            self._keep_seen({write_place(*node): number for node, number in news.nodes.items()}, now)
            self._store.execute(
                insert(alerts_notices), [entry_of(item, now, arrived_at) for item in news.notifications]
            )

    def _replace(self, table: Table, rows: Iterable[StoredRow]) -> None:
        self._store.execute(delete(table))
        self._store.execute(insert(table), list(rows))

    def _keep_seen(self, places: Mapping[str, int], now: datetime) -> None:
        adding = self._store.insert(alerts_seen)
        newer = adding.excluded
        self._store.execute(
            adding.on_conflict_do_update(
                index_elements=["place"],
                set_={"sweep": newer.sweep, "at": newer.at},
                where=alerts_seen.c.sweep != newer.sweep,
            ),
            [{"place": place, "sweep": number, "at": stored_time(now)} for place, number in places.items()],
        )

    def _enqueue(self, plan: AlertPlan, now: datetime) -> None:
        newest: dict[Pair, StoredRow] = {}
        firing: set[Pair] = set()
        for marks in _some_at_once(sorted({mark for _, mark in looked_up(plan)})):
            for row in self._store.rows(statements.NEWEST_WORDS.params(marks=marks)):
                newest[row["notifier"], row["fingerprint"]] = row
            for row in self._store.rows(statements.FIRING_WORDS.params(marks=marks)):
                firing.add((row["notifier"], row["fingerprint"]))
        entries = entries_of(plan, newest, firing, now)
        renewed = [{"this": ident, "newer_body": body} for ident, body in entries.renewed.items()]
        self._store.execute(statements.RENEW, renewed)
        self._store.execute(insert(alerts_notices), entries.added)

    # -- delivery

    def waiting(self) -> dict[str, int]:
        """Count the waiting notifications of each notifier; one without any is left out."""
        return {row["notifier"]: row["waiting"] for row in self._store.rows(statements.WAITING)}

    def pending(self, notifier: str, limit: int | None = None) -> list[Row]:
        """List one notifier's waiting notifications, in the order of delivery; at most `limit`, None for all."""
        return self._rows(statements.OUTBOX.where(alerts_notices.c.notifier == notifier).limit(limit))

    def not_before(self, notifier: str) -> datetime | None:
        """Read the time before which the other side asked not to be called; None if it did not ask."""
        row = self._store.first(select(alerts_waits.c.not_before).where(alerts_waits.c.notifier == notifier))
        return None if row is None else read_time(row["not_before"])

    def calling(self, rows: Sequence[Row]) -> None:
        """Record that a call is about to be made: from here on they may arrive, even if this process dies."""
        self._each(statements.CALLING, rows)

    def declined(self, rows: Sequence[Row]) -> None:
        """Record that the call ended with a clear no: the notifications did not arrive."""
        self._each(statements.DECLINED, rows)

    def unanswered(self, rows: Sequence[Row]) -> dict[int, int]:
        """Record that the call ended without a clear answer; return the number of such calls by notification."""
        with self._store.transaction():
            self._each(statements.NO_ANSWER, rows)
            return {
                found["id"]: found["unanswered"]
                for some in _some_at_once([row.id for row in rows])
                for found in self._store.rows(statements.UNANSWERED.where(alerts_notices.c.id.in_(some)))
            }

    def accepted(self, rows: Sequence[Row], detail: str, now: datetime) -> None:
        """Record that the other side accepted the notifications: they leave the outbox."""
        notifiers = {row.notification.notifier for row in rows}
        with self._store.transaction():
            self._move(rows, State.ACCEPTED, detail, now)
            self._store.execute(delete(alerts_waits).where(alerts_waits.c.notifier.in_(notifiers)))
            # One more than the newest: two pages an hour are counted.
            self._forget_repeats(rows, State.ACCEPTED, kept=2)

    def refused(self, rows: Sequence[Row], detail: str, now: datetime) -> None:
        """Record that the other side refused the notifications for good: they become dead letters.

        A resolve that waits for a trigger that never arrived is dropped with it. If the trigger may have
        arrived (the process died, or no answer came), the resolve still goes.
        """
        with self._store.transaction():
            self._move(rows, State.DEAD, detail, now)
            self._forget_repeats(rows, State.DEAD, kept=1)
            self._store.execute(
                statements.DROP_WITH_TRIGGER,
                [
                    {"to": notifier, "mark": mark, "now": stored_time(now)}
                    for notifier, mark in sorted({pair_of(row.notification) for row in rows})
                ],
            )

    def postponed(self, rows: Sequence[Row], detail: str, not_before: datetime | None, now: datetime) -> None:
        """Record a failed attempt that may succeed later: the notifications stay in the outbox."""
        with self._store.transaction():
            self._move(rows, State.PENDING, detail, now)
            if not_before is not None:
                adding = self._store.insert(alerts_waits)
                self._store.execute(
                    adding.on_conflict_do_update(
                        index_elements=["notifier"], set_={"not_before": adding.excluded.not_before}
                    ),
                    [
                        {"notifier": name, "not_before": stored_time(not_before)}
                        for name in sorted({row.notification.notifier for row in rows})
                    ],
                )

    # -- for people

    def outbox(self) -> list[Row]:
        """List all waiting notifications, by notifier and in order."""
        return self._rows(statements.OUTBOX)

    def dead_letters(self) -> list[Row]:
        """List all notifications that were refused for good, oldest first."""
        return self._rows(statements.DEAD_LETTERS)

    def undelivered(self) -> list[Row]:
        """List waiting notifications, and dead letters of standing incidents that nothing newer replaced."""
        with self._store.reading():
            return self.outbox() + self._rows(statements.UNDELIVERED_LETTERS)

    def retry(self, idents: Collection[int] | None, now: datetime) -> list[Row]:
        """Put dead letters (None: all) back at their old place in the outbox; return those that went back.

        A stale one stays: its incident is over, or its newer state has been sent. Raises `UsageError`
        for a number that is no dead letter.
        """
        with self._store.transaction():
            dead = {row.id: row for row in self.dead_letters()}
            unknown = sorted(set(idents or ()) - dead.keys())
            if unknown:
                raise UsageError(f"{unknown[0]} is no dead letter")
            chosen = [row for row in dead.values() if not row.stale and (idents is None or row.id in idents)]
            self._each(statements.BACK_TO_OUTBOX, chosen, now=stored_time(now))
        return chosen

    def forget(self, notifier: str) -> int:
        """Forget all notifications to a notifier; return how many of them waited or were refused."""
        to_it = alerts_notices.c.notifier == notifier
        undone = alerts_notices.c.state.in_((State.PENDING.value, State.DEAD.value))
        with self._store.transaction():
            (counted,) = self._store.rows(select(func.count().label("left")).where(to_it, undone))
            self._store.execute(delete(alerts_notices).where(to_it))
            self._store.execute(delete(alerts_waits).where(alerts_waits.c.notifier == notifier))
        return int(counted["left"])

    def life(self, fingerprint: str) -> list[Row]:
        """List all notifications of one incident, oldest first, each with its notifier and outcome."""
        of_it = alerts_notices.c.fingerprint == fingerprint
        return self._rows(select(alerts_notices).where(of_it).order_by(alerts_notices.c.id))

    def every(self) -> list[Row]:
        """List all notifications in the memory, oldest first."""
        return self._rows(select(alerts_notices).order_by(alerts_notices.c.id))

    def newest(self, most: int) -> list[Row]:
        """List the notifications that changed their state last, newest first; at most so many."""
        return self._rows(statements.NEWEST.limit(most))

    def first_words(self, since: datetime) -> list[FirstWord]:
        """List the first words on causes that arrived since then, in the order in which somebody took them."""
        words = self._store.rows(statements.FIRST_WORDS.params(since=stored_time(since)))
        return list(map(read_first_word, words))

    def perhaps_twice(self) -> dict[str, int]:
        """Count, by notifier, the notifications that it took and of which another call may have arrived, too."""
        return {row["notifier"]: row["number"] for row in self._store.rows(statements.PERHAPS_TWICE)}

    # -- silences

    def silences(self) -> list[Silence]:
        """List all silences in the memory, ended ones too; the first to end first."""
        return read_silences(self._store)

    def add_silence(self, silence: Silence) -> None:
        """Store a silence. Raises `UsageError` if there is one of its ident."""
        values = {
            "ident": silence.ident,
            "ends_at": stored_time(silence.ends_at),
            "body": SILENCE.write(silence),
        }
        if not self._store.execute(
            self._store.insert(alerts_silences).values(values).on_conflict_do_nothing()
        ):
            raise UsageError(f"there is a silence {silence.ident} already")

    def expire_silence(self, ident: str, now: datetime) -> Silence:
        """End a silence now, and return it. Raises `UsageError` if there is none of its ident."""
        of_it = alerts_silences.c.ident == ident
        with self._store.transaction():
            row = self._store.first(select(alerts_silences.c.body).where(of_it))
            if row is None:
                raise UsageError(f"there is no silence {ident}")
            silence = expired(SILENCE.read(row["body"]), now)
            self._store.execute(
                update(alerts_silences)
                .where(of_it)
                .values(ends_at=stored_time(silence.ends_at), body=SILENCE.write(silence))
            )
        return silence

    def prune(self, before: datetime) -> None:
        """Delete records older than that which no plan needs.

        What stays, whatever its age: what stands; the newest word to each notifier on an incident that
        stands or that it still takes for firing; all of one incident to a notifier of which something
        younger waits; and where nodes were last seen, if something that stands was last seen no later.
        """
        with self._store.transaction():
            for statement in statements.PRUNE:
                self._store.execute(statement, [{"limit": stored_time(before)}])

    # -- inside

    def _rows(self, statement: Select[Any]) -> list[Row]:
        return [read_row(row) for row in self._store.rows(statement)]

    def _each(self, statement: Update, rows: Sequence[Row], **values: str) -> None:
        self._store.execute(statement, [{"this": row.id, **values} for row in rows])

    def _move(self, rows: Sequence[Row], state: State, detail: str, now: datetime) -> None:
        said = one_line(detail, most=MAX_DETAIL)
        self._each(statements.MOVE, rows, becomes=state.value, said=said, now=stored_time(now))

    def _forget_repeats(self, rows: Sequence[Row], state: State, *, kept: int) -> None:
        repeated = [
            pair_of(row.notification)
            for row in rows
            if row.notification.reason is NotifyReason.REPEAT_INTERVAL_ELAPSED
        ]
        self._store.execute(
            statements.FORGET_REPEATS,
            [
                {"to": notifier, "mark": mark, "stage": state.value, "kept": kept}
                for notifier, mark in repeated
            ],
        )


def _some_at_once(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + MOST_AT_ONCE] for start in range(0, len(items), MOST_AT_ONCE))


def _standing_rows(kept: AlertPlan | News) -> Iterator[StoredRow]:
    for mark, item in kept.standing.items():
        yield {"fingerprint": mark, "last_sweep": item.last_sweep, "body": STANDING.write(item)}


def _baseline(row: StoredRow) -> Baseline | None:
    if row["registered"] is None:
        return None
    known = row["registered_in"]
    return Baseline(
        row["registered"],
        read_time(row["registered_at"]),
        frozenset(read_place(known) if known is not None else ()),
    )
