"""Sentences of servers that let an account in and give it nothing, as OpenSSH 10 and Debian 13 say them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncssh
import pytest

from auditor.errors import GapReason
from auditor.nodes.accounts import account_advice
from tests.cases import CASES
from tests.nodes.bench import Bench
from tests.parts.sshd import public


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("Please log in as admin, not as root.\n", "ssh.user"),
        ('Please login as the user "ubuntu" rather than the user "root".\n', "ssh.user"),
        ("WARNING: Your password has expired.\nPassword change required but no TTY available.\n", "password"),
        ("You are required to change your password immediately (administrator enforced).\n", "password"),
        ("Your account has expired; please contact your system administrator.\n", "chage -E"),
        ("This account is currently not available.\n", "shell"),
        ("This service allows sftp connections only.\n", "internal-sftp"),
        ("System is going down for maintenance.\n", "/etc/nologin"),
        ("Permission denied (publickey).\n", ""),
        ("bash: wg: command not found\n", ""),
        ("", ""),
    ],
)
def test_a_servers_sentence_says_what_to_set(said: str, advice: str) -> None:
    found = account_advice(said)
    assert advice in found
    assert bool(advice) is bool(found)


def test_sshds_own_status_tells_of_nologin_whatever_its_file_says() -> None:
    assert "/etc/nologin" in account_advice("Back at noon.", 254)
    assert account_advice("Back at noon.", 1) == ""


async def test_a_cloud_images_root_is_auth_with_what_to_set(bench: Bench) -> None:
    line = (
        (CASES / "nodes/10-account/cloud-root.authorized_keys")
        .read_text()
        .strip()
        .replace("sleep 4", "sleep 0")
    )
    error = await bench.refused(bench.sshd(authorized=[line.replace("KEY", public(bench.identity))]))
    assert error.reason is GapReason.AUTH
    assert "Please log in as admin, not as root." in error.detail
    assert "set ssh.user" in error.detail


async def test_an_account_for_files_alone_is_auth_with_what_to_set(bench: Bench) -> None:
    error = await bench.refused(bench.sshd(lines=["ForceCommand internal-sftp"]))
    assert error.reason is GapReason.AUTH
    assert "This service allows sftp connections only." in error.detail


async def test_a_server_that_hangs_up_on_an_account_with_a_banner_is_auth(bench: Bench) -> None:
    """As with PAM and /etc/nologin, whose words are anybody's."""
    words = (CASES / "nodes/09-last-words/etc-nologin").read_text()
    for said in (words, "Back at noon."):

        class Closed(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                self.connection = conn

            def begin_auth(self, username: str) -> bool:  # noqa: ARG002
                self.connection.send_auth_banner(said)  # noqa: B023
                asyncio.get_running_loop().call_soon(self.connection.abort)
                return True

        key = asyncssh.generate_private_key("ssh-ed25519")
        async with await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[key], server_factory=Closed
        ) as listener:
            place = f"127.0.0.1:{listener.get_port()}"
            line = f"[127.0.0.1]:{listener.get_port()} {key.export_public_key().decode()}"
            bench.known_hosts.write_text(line)
            error = await bench.refused(place)
        assert error.reason is GapReason.AUTH
        assert said.strip() in error.detail
        assert "/etc/nologin" in error.detail


def test_each_case_of_last_words_is_known() -> None:
    words = Path(CASES / "nodes/09-last-words/etc-nologin").read_text()
    assert account_advice(words)
