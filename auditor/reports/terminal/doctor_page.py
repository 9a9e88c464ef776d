"""Page of `doctor`: each part with what was tried, what came back and what to do; then what that amounts to."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text

from auditor.reports.interface import Layout
from auditor.reports.terminal.page import Page
from auditor.values.text import count
from auditor.values.trials import Trial, TrialOutcome, Trials

_MARKS: Mapping[TrialOutcome, tuple[str, str]] = {
    TrialOutcome.WORKS: ("ok", "green"),
    TrialOutcome.WARNS: ("warn", "yellow"),
    TrialOutcome.FAILS: ("FAIL", "red"),
    TrialOutcome.UNTRIED: ("-", "yellow"),
}


def doctor_page(trials: Trials, layout: Layout) -> str:
    """Draw the trials. It says "works" of what was tried alone."""
    page = Page(layout)
    for trial in trials.trials:
        _trial(page, trial)
    page.blank()
    failing, untried = trials.parts(TrialOutcome.FAILS), trials.parts(TrialOutcome.UNTRIED)
    whole = len(trials.trials)
    if failing:
        verb = "does" if len(failing) == 1 else "do"
        page.line(
            f"{len(failing)} of {count(whole, 'part')} {verb} not work: {page.clean(', '.join(failing))}"
        )
    if untried:
        page.line(f"{len(untried)} could not be tried because of that: {page.clean(', '.join(untried))}")
    if trials.whole:
        warned = len(trials.parts(TrialOutcome.WARNS))
        page.line(f"All {whole} that were tried work{f', {warned} with a warning' if warned else ''}.")
    if trials.beyond:
        page.line(f"Not tried: {page.clean('; '.join(trials.beyond))}.")
    return page.text()


def _trial(page: Page, trial: Trial) -> None:
    mark, style = _MARKS[trial.outcome]
    page.line(Text(f"{mark:<4}  ", style).append(page.clean(trial.part), "not bold default"))
    page.labelled("tried", page.clean(trial.tried), 6, 5)
    page.labelled("got", page.clean(trial.got), 6, 5)
    if trial.advice:
        page.labelled("do", page.clean(trial.advice), 6, 5)
