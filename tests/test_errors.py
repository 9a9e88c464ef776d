"""The exception tree: whole, in one file, and drawn there as it is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import alerts
import auditor
from auditor import errors

MODULES = sorted(
    module.name
    for package in (auditor, alerts)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)


def test_no_exception_leaves_a_module_that_is_not_in_the_tree() -> None:
    """Private ones are control flow inside one module: they are caught where they are raised."""
    found = [
        f"{name}.{value.__name__}"
        for name in MODULES
        for value in vars(importlib.import_module(name)).values()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == name
    ]
    assert [item for item in found if not re.match(r"auditor\.errors\.|.*\._\w+$", item)] == []


def test_the_drawing_of_the_tree_is_the_tree() -> None:
    """Each class, in the place where it hangs: whoever catches one reads there what else it catches."""
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"    ((?:│   |    )*)(├── |└── )?([A-Z]\w+) {2,}\S", line):
            depth = len(found[1]) // 4 + bool(found[2])
            path[depth:] = [found[3]]
            drawn[found[3]] = path[depth - 1] if depth else "Exception"
    classes = [
        item for item in vars(errors).values() if inspect.isclass(item) and issubclass(item, Exception)
    ]
    real = {item.__name__: item.__bases__[0].__name__ for item in classes}
    assert drawn == real
