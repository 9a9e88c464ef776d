"""Connection to where a notifier's calls go: nothing is sent, and no secret is in what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from alerts.notifiers.http import CallOptions
from alerts.notifiers.trial_connection import try_connection
from alerts.notifiers.trust import TlsFiles
from auditor.errors import DeliveryError
from tests.doubles.server import Double
from tests.parts.consul import make_tls


async def test_a_host_that_takes_connections_is_reached_without_a_call() -> None:
    with Double() as service:
        said = await try_connection(SecretStr(f"{service.url}/T0/s3cr3t"), timeout=5)
        assert service.calls == []
    assert said == f"{service.url.removeprefix('http://')} takes connections"


async def test_a_certificate_is_checked_as_for_a_call(tmp_path: Path) -> None:
    tls = make_tls(tmp_path)
    with Double(tls=tls) as service:
        url = SecretStr(f"{service.url}/s3cr3t")
        said = await try_connection(url, timeout=5, options=CallOptions(tls=TlsFiles(tls.ca)))
        assert said.endswith("takes connections, and its certificate is trusted")
        with pytest.raises(DeliveryError, match="is not trusted") as caught:
            await try_connection(url, timeout=5)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/s3cr3t", "127.0.0.1:1 refuses connections"),
        ("http://nowhere.invalid/s3cr3t", "does not resolve"),
        ("http://127.0.0.1:port/s3cr3t", "cannot be used"),
    ],
)
async def test_a_host_that_is_not_reached_is_told_without_the_secret(url: str, words: str) -> None:
    with pytest.raises(DeliveryError, match=words) as caught:
        await try_connection(SecretStr(url), timeout=5)
    assert "s3cr3t" not in str(caught.value)


async def test_a_proxy_is_reached_in_the_hosts_place(monkeypatch: pytest.MonkeyPatch) -> None:
    with Double() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        said = await try_connection(SecretStr("http://hooks.example.net/s3cr3t"), timeout=5)
    assert said == "the proxy of http_proxy takes connections; what is behind it was not tried"
