"""News of a followed registry, taken down in the journal of registrations as they come."""

from __future__ import annotations

from auditor.registry.interface import RegistryNews
from auditor.service.alert_state import AlertState
from auditor.state.registration_journal import keep_reading


def keep_news(state: AlertState, news: RegistryNews, *, missed: bool = False) -> None:
    """Store what the news change, in the caller's transaction (`with state.store.transaction():`).

    Raises `StateError`. News with a gap change nothing. All news of a datacenter are stored in turn. missed: earlier
    ones could not be stored, so that it is not known since when the contents are no longer as they are in the journal.
    """
    keep_reading(
        state.store,
        news.datacenter,
        news.reading,
        not_before=None if missed else news.before_at,
        not_after=news.arrived_at,
        woken=news.woken and not missed,
        index=news.index,
    )
