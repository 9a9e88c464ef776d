"""Reasons why a TLS certificate is not trusted, with advice to its owner."""

from __future__ import annotations

import ssl

# OpenSSL's numbers (X509_V_ERR_...), and the line of its configuration with which the certificate is issued.
_REMEDIES = {
    85: "authorityKeyIdentifier = keyid",
    86: "subjectKeyIdentifier = hash",
    89: "basicConstraints = critical,CA:true",
    92: "keyUsage = critical,keyCertSign,cRLSign",
}
_STRICT = range(80, 95)
"""Faults that OpenSSL reports only in strict mode, which Python uses since 3.13."""


def why_untrusted(error: ssl.SSLCertVerificationError) -> str:
    """Give OpenSSL's reason; for a fault that only strict verification minds, with advice.

    Many a private CA leaves out what RFC 5280 demands, and Python before 3.13 let that pass.
    """
    if error.verify_code not in _STRICT:
        return error.verify_message
    remedy = _REMEDIES.get(error.verify_code)
    how = f"with {remedy}" if remedy else "as RFC 5280 demands"
    return f"{error.verify_message} (Python 3.13 minds); issue it again {how}"
