"""Headers of the settings: sent, read anew where they stand in files, named where they can't be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from alerts.notifiers.alertmanager import Alertmanager
from alerts.notifiers.http import CallOptions
from auditor.errors import DeliveryError
from tests.alerts.notifiers.sample import firing
from tests.doubles.server import Double


async def test_headers_and_a_bearers_token_go_with_each_call_as_they_are_then(
    tmp_path: Path, double: Double
) -> None:
    """Tokens are renewed while a daemon runs."""
    token, own = tmp_path / "token", tmp_path / "own"
    own.write_text("from a file\n")
    options = CallOptions(
        headers=(("X-Scope-OrgID", SecretStr("mesh")), ("X-Own", own)), bearer_token_file=token
    )
    notifier = Alertmanager("am", SecretStr(double.url), options=options)
    for written in ("first\n", "second"):
        token.write_text(written)
        await notifier.send(notifier.payload([firing()]))
    assert [call.headers["authorization"] for call in double.calls] == ["Bearer first", "Bearer second"]
    assert (double.calls[0].headers["x-scope-orgid"], double.calls[0].headers["x-own"]) == (
        "mesh",
        "from a file",
    )


@pytest.mark.parametrize("held", [None, "", "two\nlines", "s\u00fcss"])
async def test_a_token_that_cannot_be_used_is_named_by_its_file_and_waits(
    held: str | None, tmp_path: Path, double: Double
) -> None:
    token = tmp_path / "token"
    if held is not None:
        token.write_text(held, encoding="utf-8")
    notifier = Alertmanager("am", SecretStr(double.url), options=CallOptions(bearer_token_file=token))
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(notifier.payload([firing()]))
    assert caught.value.local
    assert not caught.value.permanent
    assert f"bearer_token_file is read from {token}"[:90] in str(caught.value)
    assert double.calls == []
