"""Which proxy a call goes through: as curl and Go read the environment, each odd value named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from alerts.notifiers.proxies import chosen_proxy
from alerts.notifiers.slack import Slack
from auditor.errors import DeliveryError
from tests.alerts.notifiers.sample import firing
from tests.doubles.server import Double, Reply

CASES = Path(__file__).parents[2] / "cases" / "registry" / "08-no-proxy.env"
PROXY = "http://proxy.example:3128"


def variable(url: str, **environment: str) -> str | None:
    """The variable whose proxy the call goes through."""
    chosen = chosen_proxy(url, environment)
    return chosen and chosen.variable


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("*", "anything.example"),
        ("hooks.example", "hooks.example"),
        ("HOOKS.example", "hooks.Example."),
        ("example", "hooks.example"),
        (".example", "hooks.example"),
        ("*.example", "hooks.example"),
        ("hooks.example:8080", "hooks.example:8080"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3:80", "10.1.2.3"),
        ("10.0.0.0/8", "10.200.0.1"),
        ("10.9.9.9/8", "10.200.0.1"),
        ("127.0.0.0/8", "127.0.0.1:9093"),
        ("fd00::1", "[fd00::1]"),
        ("[fd00::1]", "[fd00:0::1]:9093"),
        ("[fd00::1]:9093", "[fd00::1]:9093"),
        ("fd00::/8", "[fd12::7]"),
        ("[fd00::]/8", "[fd12::7]"),
        ("10.0.0.0/8", "[::ffff:10.0.0.1]"),
        ("a.example, ,hooks.example", "hooks.example"),
        ("a.example hooks.example", "hooks.example"),
        ("10.0.0.0/99,hooks.example", "hooks.example"),
    ],
)
def test_what_no_proxy_names_is_called_directly(entry: str, host: str) -> None:
    assert variable(f"http://{host}/x", http_proxy=PROXY, NO_PROXY=entry) is None


@pytest.mark.parametrize(
    ("entry", "host"),
    [
        ("", "hooks.example"),
        ("example", "badexample"),
        ("hooks.example", "example"),
        ("hooks.example:8080", "hooks.example"),
        ("10.0.0.0/8", "11.0.0.1"),
        ("10.1.2.3", "10.1.2.33"),
        ("2.3", "10.1.2.3"),
        ("fd00::/8", "[fe80::1]"),
        ("::1", "[::2]"),
        ("10.0.0.0/99", "10.0.0.1"),
        ("10.0.0.0/8", "ten.example"),
    ],
)
def test_what_it_does_not_name_goes_through_the_proxy(entry: str, host: str) -> None:
    assert variable(f"http://{host}/x", http_proxy=PROXY, NO_PROXY=entry) == "http_proxy"


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        ("http://x.example", {"HTTP_PROXY": PROXY}, "HTTP_PROXY"),
        ("https://x.example", {"HTTP_PROXY": PROXY}, None),
        ("https://x.example", {"HTTPS_PROXY": PROXY, "ALL_PROXY": PROXY}, "HTTPS_PROXY"),
        ("https://x.example", {"all_proxy": PROXY}, "all_proxy"),
        ("http://x.example", {"http_proxy": PROXY, "HTTP_PROXY": "http://other:1"}, "http_proxy"),
        ("http://x.example", {"http_proxy": "", "HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        ("http://x.example", {}, None),
    ],
)
def test_the_first_variable_that_is_set_decides(
    url: str, environment: dict[str, str], expected: str | None
) -> None:
    assert variable(url, **environment) == expected


def test_a_proxy_without_a_scheme_speaks_http_and_its_password_is_kept_apart() -> None:
    chosen = chosen_proxy("http://x.example", {"http_proxy": "me:p%40ss@[fd00::1]:3128"})
    assert chosen is not None
    assert chosen.url.get_secret_value() == "http://[fd00::1]:3128"
    assert chosen.auth == ("me", SecretStr("p@ss"))
    assert "p@ss" not in f"{chosen} {chosen!r}"


@pytest.mark.parametrize(
    "value",
    ["socks5://u:hunter2@x:1", "http://u:hunter2@[bad", "http://u:hunter2@x:port", "http://", "ht tp://x"],
)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable_and_tried_again(value: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        chosen_proxy("http://x.example", {"ALL_PROXY": value})
    assert not caught.value.permanent
    assert "ALL_PROXY" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def environments() -> list[dict[str, str]]:
    """Those of the case file; each line alone is enough."""
    lines = [line for line in CASES.read_text().splitlines() if line and not line.startswith("#")]
    return [dict(word.split("=", 1) for word in line.split(" ")) for line in lines]


@pytest.mark.parametrize("environment", environments(), ids=str)
async def test_an_alert_reaches_its_service_whatever_the_environment_holds(
    environment: dict[str, str], double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain HTTP to loopback: no proxy is meant for it, and no authority is needed."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    double.fault = Reply(200, b"ok")
    slack = Slack("team", SecretStr(double.url))
    assert await slack.send(slack.payload([firing()])) == "200 OK: ok"


async def test_a_proxys_refusal_is_not_the_vendors(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    """407 comes from the proxy: it is tried again, and says whose it is."""
    monkeypatch.setenv("http_proxy", double.url.replace("://", "://me:hunter2@"))
    double.fault = Reply(407, b"who are you, hunter2?")
    slack = Slack("team", SecretStr("http://hooks.invalid/x"))
    with pytest.raises(DeliveryError) as caught:
        await slack.send(slack.payload([firing()]))
    assert not caught.value.permanent
    assert str(caught.value).startswith("the proxy of http_proxy refuses: 407")
    assert "hunter2" not in str(caught.value)


async def test_entries_that_cannot_be_read_are_told_where_the_way_through_the_proxy_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mistyped block sends what is internal to the proxy."""
    with Double() as gone:
        base = gone.url
    monkeypatch.setenv("http_proxy", base)
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/99,localhost")
    slack = Slack("team", SecretStr("http://10.0.0.1/x"))
    with pytest.raises(DeliveryError, match="entries of NO_PROXY that cannot be read: 1"):
        await slack.send(slack.payload([firing()]))
