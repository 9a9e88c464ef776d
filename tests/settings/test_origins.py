"""Origins of the configuration's values: file and line, environment, default; no secret is among them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

import pytest

from auditor.settings.file import parse_toml
from auditor.settings.origins import shown_settings
from auditor.values.setting_origins import MASK, Origin, OriginKind, ShownSetting

FILE = "wgaudit.toml"
SECRETS = ("s3cr3t-token", "https://hooks.example.net/T0/B0/s3cr3t", "header-s3cr3t")
TEXT = f"""[consul]
token = "{SECRETS[0]}"
datacenters = [
  "dc1",
]
[regions.pools]
sin = "10.16.0.0/12"
[[notifiers]]
name = "chat"
type = "slack"
url = "{SECRETS[1]}"
[[notifiers]]
name = "hook"
type = "webhook"
url_env = "HOOK"
secret_file = "/etc/hook"
headers = {{ "X-Team" = "{SECRETS[2]}" }}
"""


def shown(text: str, **environment: str) -> Mapping[str, ShownSetting]:
    """Every setting of such a file, by its name."""
    config = parse_toml(text, FILE)
    return {
        item.name: item
        for item in shown_settings(config, tomllib.loads(text) if text else {}, text, FILE, environment)
    }


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("consul.token", MASK, 2),
        ("consul.datacenters", '["dc1"]', 3),
        ("regions.pools.sin", '"10.16.0.0/12"', 7),
        ("notifiers[1].name", '"chat"', 9),
        ("notifiers[1].url", MASK, 11),
        ("notifiers[2].headers.X-Team", MASK, 17),
    ],
)
def test_what_the_file_sets_has_its_line(name: str, value: str, line: int) -> None:
    item = shown(TEXT)[name]
    assert (item.value, item.origin) == (value, Origin(OriginKind.FILE, FILE, line))


def test_what_it_does_not_set_is_a_default() -> None:
    item = shown(TEXT)["consul.prefix"]
    assert (item.value, item.origin) == ('"wireguard/nodes/"', Origin(OriginKind.DEFAULT))
    assert shown(TEXT)["consul.ca_file"].value is None


def test_no_secret_is_shown_nor_how_long_it_is() -> None:
    """In the file, and in the environment."""
    items = shown(TEXT, HOOK="https://hooks.example.net/from-the-environment", CONSUL_HTTP_TOKEN="an0ther")
    text = repr(items)
    assert [secret for secret in (*SECRETS, "from-the-environment", "an0ther") if secret in text] == []
    assert {item.value for item in items.values() if item.secret} == {MASK}


def test_a_token_of_the_environment_is_named_by_its_variable() -> None:
    items = shown("", CONSUL_HTTP_TOKEN="x")
    assert items["consul.token"].value == MASK
    assert items["consul.token"].origin == Origin(OriginKind.ENVIRONMENT, "CONSUL_HTTP_TOKEN")
    items = shown("", CONSUL_HTTP_TOKEN="x", CONSUL_HTTP_TOKEN_FILE="/run/token")
    assert items["consul.token"].origin == Origin(OriginKind.FILE, "/run/token")
    assert items["consul.token_file"].value == '"/run/token"'
    assert items["consul.token_file"].origin == Origin(OriginKind.ENVIRONMENT, "CONSUL_HTTP_TOKEN_FILE")


def test_a_token_in_the_file_wins_over_the_environment() -> None:
    assert shown(TEXT, CONSUL_HTTP_TOKEN="x")["consul.token"].origin.line == 2


def test_a_secret_of_a_variable_or_file_is_named_by_that() -> None:
    items = shown(TEXT, HOOK="https://x.example")
    assert items["notifiers[2].url"].origin == Origin(OriginKind.ENVIRONMENT, "HOOK")
    assert items["notifiers[2].secret"].origin == Origin(OriginKind.FILE, "/etc/hook")
    unset = shown(TEXT)["notifiers[2].url"]
    assert (unset.value, unset.note) == (None, "the variable is not set")


def test_a_secret_in_the_place_of_a_variables_name_is_masked() -> None:
    text = f'[[notifiers]]\nname = "x"\ntype = "slack"\nurl_env = "{SECRETS[1]}"\n'
    assert SECRETS[1] not in repr(shown(text))
    assert "s3cr3t" not in repr(shown('[state]\nurl_env = "postgresql+psycopg://audit:s3cr3t@db/x"\n'))


def test_a_password_in_a_url_is_masked_and_its_host_is_not() -> None:
    text = '[alerts]\ndocs_url = "https://docs.example.net/wgaudit"\n[ssh]\nhost = "root:word@{node}"\n'
    items = shown(text)
    assert items["alerts.docs_url"].value == '"https://docs.example.net/wgaudit"'
    assert items["ssh.host"].value == '"[login]@{node}"'


def test_ssh_may_decide_what_the_configuration_leaves_open() -> None:
    assert shown("")["ssh.user"].note != ""
    assert shown('[ssh]\nuser = "audit"')["ssh.user"].note == ""


def test_the_state_folder_of_the_environment_is_named() -> None:
    origin = shown("", XDG_STATE_HOME="/srv/state")["state.path"].origin
    assert origin == Origin(OriginKind.ENVIRONMENT, "XDG_STATE_HOME")
