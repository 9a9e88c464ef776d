"""Which of several auditors of one fleet tells people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TellingRole(StrEnum):
    """Role of an auditor that shares its state with others."""

    LEADS = "leads"
    """It holds the lease, and tells."""
    FOLLOWS = "follows"
    """Another one tells, or nobody yet: it looks, judges and shows."""
    ALONE = "alone"
    """It cannot ask the database who leads, and tells all the same, from its memory."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Auditor that tells people, as another one or itself knows it."""

    role: TellingRole
    """Role of the auditor that says so."""
    holder: str = ""
    """Who holds the lease, or held it when the database last answered; "": nobody."""
    epoch: int = 0
    """Number of that leadership: each one that begins has the next number."""

    @property
    def words(self) -> str:
        """Say who leads, in a few words."""
        held = f"{self.holder or 'nobody'}, epoch {self.epoch}"
        match self.role:
            case TellingRole.LEADS:
                return f"this auditor ({held})"
            case TellingRole.FOLLOWS:
                return f"{held}; this auditor tells nobody"
            case TellingRole.ALONE:
                return (
                    f"not known: the database is away, and this auditor tells by itself (last known: {held})"
                )
