"""Authorities and client certificates: used where they can be, named where they can't, and read anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from alerts.notifiers.alertmanager import Alertmanager
from alerts.notifiers.http import CallOptions
from alerts.notifiers.trust import TlsFiles
from auditor.errors import DeliveryError
from tests.alerts.notifiers.sample import firing
from tests.doubles.server import Double
from tests.parts.consul import make_tls


async def told(url: str, files: TlsFiles) -> str:
    """What comes of one alert: the answer, or why it failed; never for good."""
    notifier = Alertmanager("am", SecretStr(url), options=CallOptions(tls=files))
    try:
        return await notifier.send(notifier.payload([firing()]))
    except DeliveryError as error:
        return f"for good: {error}" if error.permanent else str(error)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_an_authority_file_that_is_not_there_is_named_by_its_variable(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not an internal error, and no word of the vendor's."""
    monkeypatch.setenv(variable, "/nonexistent.pem")
    said = await told("https://127.0.0.1:1", TlsFiles())
    assert said == f"nothing was sent: {variable} names /nonexistent.pem: No such file or directory"


async def test_an_authority_file_without_certificates_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was emptied, say."""
    (tmp_path / "ca.pem").write_text("nothing here")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    said = await told("https://127.0.0.1:1", TlsFiles())
    assert "SSL_CERT_FILE names" in said
    assert "no certificate in PEM form" in said


async def test_a_notifiers_own_authority_is_trusted_and_read_anew_when_it_changes(tmp_path: Path) -> None:
    """Certificates are renewed while a daemon runs."""
    (tmp_path / "other").mkdir()
    files, other = make_tls(tmp_path), make_tls(tmp_path / "other")
    mine = tmp_path / "mine.pem"
    with Double(tls=files) as double:
        mine.symlink_to(other.ca)
        assert (await told(double.url, TlsFiles(ca=mine))).startswith("TLS: the certificate of")
        mine.unlink()
        mine.symlink_to(files.ca)
        assert await told(double.url, TlsFiles(ca=mine)) == "200 OK"


async def test_a_server_that_wants_a_client_certificate_gets_it(tmp_path: Path) -> None:
    files = make_tls(tmp_path)
    with Double(tls=files, client_ca=Path(files.ca)) as double:
        without = await told(double.url, TlsFiles(ca=Path(files.ca)))
        assert not double.calls
        assert "200" not in without
        shown = TlsFiles(ca=Path(files.ca), cert=Path(files.cert), key=Path(files.key))
        assert await told(double.url, shown) == "200 OK"


async def test_a_client_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    files = make_tls(tmp_path)
    absent = TlsFiles(cert=tmp_path / "no.pem", key=Path(files.key))
    assert (await told("https://127.0.0.1:1", absent)).startswith("nothing was sent: cert_file names")
    swapped = TlsFiles(cert=Path(files.key), key=Path(files.cert))
    assert "no certificate with its key" in await told("https://127.0.0.1:1", swapped)
