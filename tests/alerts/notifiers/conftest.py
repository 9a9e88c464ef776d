"""What every notifier's test runs under."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.doubles.server import Double


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doubles are on loopback: this machine's own proxy, if it has one, must stay out of it."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def double() -> Iterator[Double]:
    """A server that takes everything."""
    with Double() as serving:
        yield serving
