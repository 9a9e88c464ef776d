"""The lines of keys: each is where the key stands, whatever form of TOML it is written in."""

from __future__ import annotations

import tomllib
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.settings.lines import Path, key_lines

TEXT = """\
a = 1  # [b]
[b.c]
"d e" = { f = 1, 'g' = [1, { h = 2 }] }
i.j.k = [
  "]",  # a note
  [1,
   2],
  { l = 3 }]
[[m]]
n = '''
[m]
o = 1
'''
[p]
[[m]]
[m.q]
[[m.q.r]]
s = []
[[m.q.r]]
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 1),
        (("b",), 2),
        (("b", "c"), 2),
        (("b", "c", "d e"), 3),
        (("b", "c", "d e", "g", 1, "h"), 3),
        (("b", "c", "i", "j"), 4),
        (("b", "c", "i", "j", "k", 0), 5),
        (("b", "c", "i", "j", "k", 1), 7),
        (("b", "c", "i", "j", "k", 2, "l"), 8),
        (("m",), 9),
        (("m", 0, "n"), 10),
        (("p",), 14),
        (("m", 1), 15),
        (("m", 1, "q", "r", 0, "s"), 18),
        (("m", 1, "q", "r", 1), 19),
    ],
)
def test_a_key_is_found_in_its_line(path: Path, line: int, end: str) -> None:
    """Dotted, quoted, inline, in a list over several lines, in lists of tables that others stand between."""
    assert key_lines(TEXT.replace("\n", end), [path]) == {path: line}


def test_a_key_that_is_missing_has_the_line_of_its_table() -> None:
    """The root has none."""
    paths: list[Path] = [("m", 1, "q", "x"), ("b", "x"), ("x",), ()]
    assert key_lines(TEXT, paths) == {paths[0]: 16, paths[1]: 2}


def paths_in(value: object) -> set[Path]:
    """Every path in a document."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return set(
        chain.from_iterable({(part,)} | {(part, *path) for path in paths_in(inner)} for part, inner in inside)
    )


STATEMENTS = st.lists(
    st.sampled_from(
        [
            *("[a]", "[b.c]", "[[d]]", "[d.e]", "[[d.f]]", "[[b.g]]", "", "# [x]", "  ", "i = 1", "j.k = 2"),
            *("l = [\n 'x', # ]\n\n 'y']", 'm = { n = [{ o = 1 }], "p.q" = 2 }', "u = '''\n'''"),
            'r = """\n[s]\n"""',
        ]
    ),
    max_size=8,
)


@given(STATEMENTS)
def test_every_key_of_any_document_has_the_line_that_it_stands_in(statements: list[str]) -> None:
    """The very keys that Python's reader finds, and no other."""
    text = "\n".join(statements)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    paths = paths_in(document)
    lines = key_lines(text, paths)
    assert lines.keys() == paths
    written = text.split("\n")
    for path, line in lines.items():
        assert not isinstance(path[-1], str) or path[-1] in written[line - 1]
