"""Messages of servers that let an account in, or nearly, and then give it nothing to run."""

from __future__ import annotations

import re

_NOLOGIN_STATUS = 254
"""sshd's own, where /etc/nologin keeps all but root out and PAM has no say."""
_SENTENCES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), advice)
    for pattern, advice in (
        (
            r"please log ?in as (?:the )?(?:user )?[\"']?([a-z_][a-z0-9_.-]*)",
            "set ssh.user to the account that it names, and ssh.sudo",
        ),
        (
            r"password (?:has expired|is expired|change required|must be changed)|required to change your password",
            "renew the account's password there, or let none expire for it (chage -M -1)",
        ),
        (r"account (?:has|is) expired", "lengthen the account's life there (chage -E -1)"),
        (r"account is (?:currently )?not available", "give the account a shell there, or set ssh.user"),
        (r"sftp connections only", "take the account out of ForceCommand internal-sftp, or set ssh.user"),
        (
            r"going down|no ?login|logins? (?:is|are) (?:disabled|not allowed|not permitted)|under maintenance",
            "the server takes no logins now: see /etc/nologin there",
        ),
    )
)


def account_advice(said: str, status: int | None = None) -> str:
    """Find what to set where a server's words say that an account may log in, and run nothing.

    `said`: a banner, or what came in place of the command's output; `status`: the command's. Empty: no such words.
    """
    text = " ".join(said.split())
    for pattern, advice in _SENTENCES:
        if pattern.search(text):
            return advice
    if status == _NOLOGIN_STATUS and text:
        return _SENTENCES[-1][1]
    return ""
