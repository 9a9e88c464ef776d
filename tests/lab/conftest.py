"""The lab as fixtures: a module names its case in CASE, and its tests share one mesh."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.cases import CASES
from tests.lab.mesh import Lab
from tests.lab.needs import missing_parts
from tests.lab.sweeps import Sweep
from tests.parts import require


@pytest.fixture(scope="session")
def lab_parts() -> None:
    """Skips (in CI: fails) where this machine cannot run a lab."""
    for part, how in missing_parts().items():
        require(part, present=False, how=how)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, lab_parts: None) -> Iterator[Lab]:
    """The module's case, up."""
    with Lab(CASES[request.module.CASE]()) as up:
        yield up


@pytest.fixture(scope="module")
def sweep(lab: Lab) -> Sweep:
    """One sweep of the module's case, as it was brought up."""
    return lab.sweep()
