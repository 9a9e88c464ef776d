"""Lines of an answer beside device and table: what was written is read, and nothing else is."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.errors import InvalidValue
from auditor.nodes.probe.side_lines import MOST_HIDDEN, MOST_SHADOWS, SideLines, format_side_lines
from auditor.values.hidden_addresses import RouteKind, ShadowingRoute
from auditor.values.peer_transfers import PeerTransfer
from tests.nodes.probe.test_probe import hosts, keys, networks
from tests.nodes.stubs import key

SAMPLES = st.lists(hosts, min_size=1, max_size=5).map(tuple)
ROUTES = st.tuples(
    networks(),
    st.sampled_from(RouteKind),
    st.sampled_from(["", "docker0", "br-1.2"]),
    SAMPLES,
    st.integers(0, 9),
).map(lambda each: ShadowingRoute(each[0], each[1], each[2], len(each[3]) + each[4], each[3]))
NUMBERS = st.integers(0, 2**63)
TRANSFERS = st.builds(PeerTransfer, keys, NUMBERS, NUMBERS, NUMBERS)


def read(lines: list[str]) -> SideLines:
    side = SideLines()
    for line in lines:
        word, _, value = line.partition(" ")
        side.take(word, value)
    return side


@given(
    st.none() | st.lists(ROUTES, max_size=4).map(tuple),
    st.none() | st.lists(TRANSFERS, max_size=4).map(tuple),
)
def test_what_is_written_is_read(
    shadows: tuple[ShadowingRoute, ...] | None, transfers: tuple[PeerTransfer, ...] | None
) -> None:
    routes, traffic = format_side_lines(shadows, transfers)
    side = read(routes + traffic)
    assert (side.shadows, side.transfers, side.routes_unread) == (shadows, transfers, "")


@given(st.sampled_from(["shadow", "shadows", "transfer", "transfers", "other"]), st.text())
def test_whatever_a_node_prints_is_read_or_refused(word: str, value: str) -> None:
    with suppress(InvalidValue):
        SideLines().take(word, value)


ROUTE = "shadow unicast 10.0.0.0/24 docker0 1 10.0.0.7/32"


@pytest.mark.parametrize(
    "lines",
    [
        [ROUTE, "shadows 2"],
        [ROUTE, "shadows 0"],
        [*[ROUTE] * (MOST_SHADOWS + 1)],
        ["shadow unicast 10.0.0.0/24 docker0 99 " + " ".join(["10.0.0.7/32"] * (MOST_HIDDEN + 1))],
        ["shadow unicast 10.0.0.0/24 docker0 0 10.0.0.7/32"],
        ["shadow unicast 10.0.0.0/24 docker0 1"],
        ["shadow throw 10.0.0.0/24 docker0 1 10.0.0.7/32"],
        ["shadow unicast 10.0.0.0/24 a/b 1 10.0.0.7/32"],
        ["shadow unicast 10.0.0.0/99 docker0 1 10.0.0.7/32"],
        [f"transfer {key(2)} 1 2"],
        [f"transfer {key(2)} 1 -2 3"],
        ["transfer x 1 2 3"],
    ],
)
def test_a_line_that_the_probe_would_not_print_is_refused(lines: list[str]) -> None:
    with pytest.raises(InvalidValue):
        read(lines)


def test_why_the_routes_could_not_be_read_is_no_empty_answer() -> None:
    side = read(["shadows unread ip route: exit 1"])
    assert (side.shadows, side.routes_unread) == (None, "ip route: exit 1")
