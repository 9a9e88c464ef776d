"""A node of which tests may write the files that bring its device up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.change.node_files import Node
from tests.nodes.namespaces import Network


@pytest.fixture(scope="module")
def up() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def node(up: Network, tmp_path: Path) -> Node:
    node = Node(up, tmp_path)
    node.clear()
    return node
