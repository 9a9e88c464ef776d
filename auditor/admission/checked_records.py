"""Judgement of all records of one call, and one line of each for a log."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.admission.objections import Admission, AdmissionVerdict
from auditor.values.text import for_log


@dataclass(frozen=True, slots=True)
class CheckedRecords:
    """Judgement of records that are to be written."""

    admissions: tuple[Admission, ...]
    registered: int
    """Registrations that they were judged against."""
    claims_read: bool
    live_from: str
    """Source of what is live: `replay`, `watch`, or "" for none."""
    passed_over: int = 0
    """Keys of the input outside the prefix, and those that are no registration."""

    @property
    def verdict(self) -> AdmissionVerdict:
        """Worst answer of all: refused, then unknown."""
        found = {item.verdict for item in self.admissions}
        order = (AdmissionVerdict.REFUSED, AdmissionVerdict.UNKNOWN)
        return next((item for item in order if item in found), AdmissionVerdict.ADMITTED)

    @property
    def admitted(self) -> bool:
        """Tell whether all of them may be written."""
        return self.verdict is AdmissionVerdict.ADMITTED

    @property
    def lines(self) -> tuple[str, ...]:
        """One harmless line a record: `edge-fra-9  no: address-registered: …`."""
        return tuple(for_log(f"{item.proposal.node}  {item.sentence}") for item in self.admissions)
