"""Words of a command to drain by: a value of the registry is never an option, a path or a word of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import InvalidValue
from auditor.values.drains import command_words, fault_of

WORDS = ("drain", "{node}", "--region={region}", "at {address}", '{"Drain": true}')


def test_a_command_gets_the_node_s_values_each_where_it_stands() -> None:
    words = command_words(WORDS, node="edge-sin-1", region="sin", address="10.0.0.1")
    assert words == ("drain", "edge-sin-1", "--region=sin", "at 10.0.0.1", '{"Drain": true}')


@given(st.text() | st.from_regex(r"[-./a-z{}$;' ]{1,20}", fullmatch=True), st.text())
def test_whatever_a_registration_says_becomes_no_option_and_nothing_that_a_shell_would_read(
    name: str, region: str
) -> None:
    """Names come from the registry, which others write."""
    try:
        words = command_words(WORDS, node=name, region=region, address="10.0.0.1")
    except InvalidValue:
        return
    assert len(words) == len(WORDS)
    for value in (name, region):
        assert value[0] not in "-./"
        assert not set(value) & set(" \t\n'\"`$&|;<>()[]{}*?!~#%=/\\\x00")


@pytest.mark.parametrize("name", ["-rf", "--help", "a b", "../x", "a;b", "$(id)", "a\nb", "é"])
def test_such_a_name_is_refused_and_said_to_be_none(name: str) -> None:
    with pytest.raises(InvalidValue, match="its name is"):
        command_words(("drain", "{node}"), node=name, region="", address=None)


@pytest.mark.parametrize(
    ("region", "address", "lacks"), [("", "10.0.0.1", "region"), ("sin", None, "address")]
)
def test_a_command_that_asks_for_what_is_not_known_is_refused(
    region: str, address: str | None, lacks: str
) -> None:
    with pytest.raises(InvalidValue, match=f"its {lacks} is not known"):
        command_words(WORDS, node="a", region=region, address=address)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["{node}"], "first word"),
        (["./drain.sh"], "whole path"),
        (["drain", "-n{node}"], "read as options"),
        (["drain", "--{region}"], "read as options"),
        (["drain", "{name}"], "no placeholder"),
        (["drain", "--node={node}", "-v", "{region}", "x{address}"], ""),
        (["/usr/bin/curl", "-d", '{"Eligibility": "ineligible"}', "http://lb/{node}"], ""),
    ],
)
def test_words_that_could_go_wrong_are_refused_when_the_configuration_is_read(
    words: list[str], fault: str
) -> None:
    assert fault in fault_of(words)
    assert bool(fault) == bool(fault_of(words))
