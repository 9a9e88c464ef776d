"""Settings of the watch: where its page may listen, and what must guard it."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.errors import ConfigError
from auditor.settings.file import parse_config
from auditor.settings.watch import PageAddress, WatchSettings, read_listen

GUARDED = {"password_file": "/etc/w/password", "cert_file": "/etc/w/cert.pem", "key_file": "/etc/w/key.pem"}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9586", PageAddress("127.0.0.1", 9586)),
        ("127.9.9.9:0", PageAddress("127.9.9.9", 0)),
        ("localhost:9586", PageAddress("localhost", 9586)),
        ("[::1]:9586", PageAddress("::1", 9586)),
        ("unix:///run/wgaudit/page.sock", PageAddress(path=Path("/run/wgaudit/page.sock"))),
    ],
)
def test_loopback_and_a_socket_file_go_without_a_password(text: str, address: PageAddress) -> None:
    settings = WatchSettings(listen=text)
    assert settings.address == address
    assert address.local
    assert read_listen(str(address)) == address


def test_no_page_is_an_empty_text() -> None:
    assert WatchSettings(listen="").address is None


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "[::]", "192.0.2.7", "audit.example.net", "localhost.example.net"]
)
def test_any_other_host_needs_password_and_certificate(host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"watch": {"listen": f"{host}:9586", "password_file": "/etc/w/password"}}, "w.toml")
    assert str(refused.value) == (
        "w.toml: watch.listen: only loopback or a socket file goes without cert_file, key_file, for the page names "
        "nodes and addresses; listen on 127.0.0.1 and come by `ssh -L`, or give a password and a certificate"
    )
    assert not parse_config({"watch": {"listen": f"{host}:9586", **GUARDED}}, "w.toml").watch.address.local


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("9586", "must be HOST:PORT"),
        ("127.0.0.1", "must be HOST:PORT"),
        ("127.0.0.1:99999", "must be HOST:PORT"),
        ("127.0.0.1:٣", "must be HOST:PORT"),
        ("::1:9586", "IPv6 address in brackets"),
        ("[nonsense]:1", "must be an IPv6 address"),
        ("http://127.0.0.1:9586", "and no URL"),
        ("unix://page.sock", "its whole path"),
        ("bad host:1", "its host must be a name"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"watch": {"listen": text}}, "w.toml")
    (line,) = refused.value.lines
    assert line.startswith("w.toml: watch.listen: ")
    assert reason in line


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"watch\.cert_file: a certificate and its key go together"):
        parse_config({"watch": {"cert_file": "/etc/w/cert.pem"}}, "w.toml")
