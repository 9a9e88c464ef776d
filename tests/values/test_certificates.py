"""Why a certificate is not trusted: OpenSSL's own reason, and what to do where only strict verification minds."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from auditor.values.certificates import why_untrusted
from tests.parts.consul import TlsFiles, make_tls


def refusal(files: TlsFiles, *, trusted: TlsFiles | None = None, strict: bool = True) -> str:
    """What is told of a server with these files, by a client that trusts an authority (default: theirs)."""
    client = ssl.create_default_context(cafile=(trusted or files).ca)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.cert, files.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (asking, answering, asking):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return why_untrusted(error)
    return ""


def test_a_certificate_with_key_identifiers_passes_strict_verification(tmp_path: Path) -> None:
    """What all other tests stand on: Python 3.13 verifies strictly by default."""
    assert refusal(make_tls(tmp_path)) == ""


def test_what_a_hand_made_certificate_lacks_is_told_with_the_line_that_adds_it(tmp_path: Path) -> None:
    told = refusal(make_tls(tmp_path, key_identifiers=False))
    assert told.startswith("Missing Authority Key Identifier")
    assert "Python 3.13" in told
    assert told.endswith("issue it again with authorityKeyIdentifier = keyid")


def test_an_unknown_authority_is_told_without_a_word_about_strictness(tmp_path: Path) -> None:
    told = refusal(make_tls(tmp_path / "a"), trusted=make_tls(tmp_path / "b"))
    assert told
    assert "Python" not in told


@pytest.mark.parametrize(("code", "said"), [(86, "subjectKeyIdentifier"), (92, "keyUsage"), (94, "RFC 5280")])
def test_each_fault_that_only_strict_verification_minds_has_a_remedy(code: int, said: str) -> None:
    error = ssl.SSLCertVerificationError("certificate verify failed")
    error.verify_code, error.verify_message = code, "why"
    assert said in why_untrusted(error)
