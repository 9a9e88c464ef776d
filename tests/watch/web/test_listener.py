"""Where the page listens: sockets and files that are refused in one clear line, and what guards it elsewhere."""

from __future__ import annotations

import base64
import os
import socket
import ssl
from pathlib import Path

import httpx
import pytest

from auditor.errors import ConfigError
from auditor.settings.watch import WatchSettings
from auditor.watch.web.listener import open_listener
from tests.parts.certificates import self_signed
from tests.watch.web.scripted import ScriptedViews, fleet_view, served

PASSWORD = "correct-horse-battery"


def refusal(listen: str, **files: Path) -> str:
    """The one line with which it is refused."""
    with pytest.raises(ConfigError) as refused:
        open_listener(WatchSettings.model_validate({"listen": listen, **files}))
    (line,) = refused.value.lines
    return line


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of localhost, and its key."""
    return self_signed(tmp_path_factory.mktemp("tls"), "localhost")


def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal(f"127.0.0.1:{port}") == (
            f"watch.listen: 127.0.0.1:{port}: another program listens there; end it, or give another port "
            "(`ss -ltnp` says who it is)"
        )


def test_a_host_that_is_not_here_is_one_clear_line(
    password_file: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    files = {"password_file": password_file, "cert_file": cert, "key_file": key}
    assert refusal("192.0.2.7:0", **files) == "watch.listen: 192.0.2.7:0: this machine has no such address"
    assert "no such host here" in refusal("nowhere.invalid:0", **files)


async def test_a_socket_file_is_for_its_user_alone_and_goes_with_the_page(tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    async with served(ScriptedViews(fleet_view(1)), listen=f"unix://{path}") as listener:
        assert listener.url == f"unix://{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://whatever.example") as client:
            assert (await client.get("/")).status_code == 200
    assert not path.exists()


def test_the_socket_of_a_killed_watch_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    listener = open_listener(WatchSettings(listen=f"unix://{path}"))
    assert listener is not None
    with listener:
        assert "another program listens there" in refusal(f"unix://{path}")


def test_socket_files_that_others_could_exchange_are_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    assert "others can write its folder" in refusal(f"unix://{shared}/page.sock")
    assert "there is no folder" in refusal(f"unix://{tmp_path}/nowhere/page.sock")
    (tmp_path / "report.txt").write_text("kept")
    assert "a file is there that is no socket" in refusal(f"unix://{tmp_path}/report.txt")
    assert (tmp_path / "report.txt").read_text() == "kept"
    assert "longer than 100 bytes" in refusal(f"unix://{tmp_path}/{'x' * 100}")


async def test_elsewhere_it_asks_for_the_password_over_tls(
    password_file: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    context = ssl.create_default_context(cafile=str(cert))
    files = {"password_file": password_file, "cert_file": cert, "key_file": key}

    def basic(words: str) -> dict[str, str]:
        return {"authorization": f"Basic {base64.b64encode(words.encode()).decode()}"}

    async with (
        served(ScriptedViews(fleet_view(1)), listen="0.0.0.0:0", **files) as listener,
        httpx.AsyncClient(
            base_url=f"https://localhost:{listener.url.rstrip('/').rpartition(':')[2]}",
            verify=context,
            trust_env=False,
        ) as client,
    ):
        refused = await client.get("/")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Basic ")
        for wrong in ("wgaudit:", "wgaudit:wrong", f"root:{PASSWORD}", f"wgaudit:{PASSWORD}\n", PASSWORD):
            assert (await client.get("/metrics", headers=basic(wrong))).status_code == 401
        for odd in ("Basic", "Basic !", f"Bearer {PASSWORD}", "Basic " + "A" * 4000):
            assert (await client.get("/events", headers={"authorization": odd})).status_code == 401
        assert (await client.get("/", headers=basic(f"wgaudit:{PASSWORD}"))).status_code == 200
        # Who runs the watch asks whether it lives, and has no password.
        assert (await client.get("/-/healthy")).status_code == 200
        assert (await client.get("/-/ready")).status_code == 200


def test_a_password_that_others_can_write_is_refused_and_never_said(
    password_file: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    password_file.chmod(0o666)
    line = refusal("0.0.0.0:0", password_file=password_file, cert_file=cert, key_file=key)
    assert "can be written by others" in line
    assert PASSWORD not in line
    password_file.chmod(0o600)
    password_file.write_text("")
    assert "is empty" in refusal("0.0.0.0:0", password_file=password_file, cert_file=cert, key_file=key)


def test_files_of_tls_that_cannot_be_used_are_refused_in_one_line(
    tmp_path: Path, password_file: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")

    def said(cert_file: Path, key_file: Path) -> str:
        return refusal("0.0.0.0:0", password_file=password_file, cert_file=cert_file, key_file=key_file)

    assert "watch.cert_file: cannot read" in said(tmp_path / "gone.pem", key)
    assert "watch.cert_file, watch.key_file" in said(junk, key)
    assert "watch.cert_file, watch.key_file" in said(cert, junk)


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="no IPv6 here")  # noqa: PTH110
async def test_loopback_of_ipv6_is_loopback() -> None:
    async with (
        served(ScriptedViews(fleet_view(1)), listen="[::1]:0") as listener,
        httpx.AsyncClient(base_url=listener.url, trust_env=False) as client,
    ):
        assert (await client.get("/")).status_code == 200
