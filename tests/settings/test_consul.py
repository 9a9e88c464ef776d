"""Settings of the registry: where its token comes from, and which datacenters, URLs and names are taken."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from auditor.errors import ConfigError
from auditor.settings.consul import ConsulSettings

SECRET = "2f9c1f4e-planted"


def resolved(environment: dict[str, str], **settings: object) -> str | None:
    token = ConsulSettings.model_validate(settings).resolved_token(environment)
    return token.get_secret_value() if token is not None else None


def test_the_configuration_wins_over_the_environment_and_there_the_file_wins(tmp_path: Path) -> None:
    """As for Consul's own command."""
    for name in ("configured", "environment"):
        (tmp_path / name).write_text(f"  of-{name}-file\n")
    environment = {
        "CONSUL_HTTP_TOKEN": "of-variable",
        "CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "environment"),
    }
    assert resolved(environment, token="of-key") == "of-key"
    assert resolved(environment, token_file=tmp_path / "configured") == "of-configured-file"
    assert resolved(environment) == "of-environment-file"
    del environment["CONSUL_HTTP_TOKEN_FILE"]
    assert resolved(environment) == "of-variable"
    assert resolved({}) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"\ufeff{SECRET}", "byte order mark"),
        (f'"{SECRET}"', "quotes"),
        (f"'{SECRET}'\n", "quotes"),
        (f"CONSUL_HTTP_TOKEN={SECRET}", "NAME="),
        (f'export CONSUL_HTTP_TOKEN="{SECRET}"\n', "NAME="),
        (f"token = {SECRET}", "NAME="),
        (f"SecretID: {SECRET}", "nothing else"),
        (f"AccessorID:  x\nSecretID:  {SECRET}\n", "nothing else"),
    ],
)
def test_a_token_that_does_not_stand_bare_is_refused_in_one_line_wherever_it_stands(
    content: str, words: str, tmp_path: Path
) -> None:
    """It would be sent along, and Consul would only say that it knows no such token."""
    file = tmp_path / "token"
    file.write_text(content, encoding="utf-8")
    for environment, settings, place in (
        ({}, {"token_file": file}, f"consul.token_file: {file}"),
        ({}, {"token": content}, "consul.token"),
        ({"CONSUL_HTTP_TOKEN_FILE": str(file)}, {}, f"CONSUL_HTTP_TOKEN_FILE: {file}"),
        ({"CONSUL_HTTP_TOKEN": content}, {}, "CONSUL_HTTP_TOKEN"),
    ):
        with pytest.raises(ConfigError) as caught:
            resolved(environment, **settings)
        (line,) = caught.value.lines
        assert line.startswith(f"{place}: ")
        assert words in line
        assert SECRET not in line


def test_a_token_file_in_utf_16_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(SECRET, encoding="utf-16")
    with pytest.raises(ConfigError, match="UTF-16's byte order mark; save it as UTF-8"):
        resolved({}, token_file=tmp_path / "token")


@pytest.mark.parametrize("content", ["", " \n", None])
def test_an_empty_or_missing_token_file_is_never_no_token(content: str | None, tmp_path: Path) -> None:
    """Not even where the environment has another."""
    if content is not None:
        (tmp_path / "token").write_text(content)
    for settings, place in (
        ({"token_file": tmp_path / "token"}, "consul.token_file"),
        ({}, "CONSUL_HTTP_TOKEN_FILE"),
    ):
        environment = {"CONSUL_HTTP_TOKEN_FILE": str(tmp_path / "token"), "CONSUL_HTTP_TOKEN": "other"}
        with pytest.raises(ConfigError, match=place):
            resolved(environment, **settings)


def test_a_token_that_ends_as_base64_does_is_bare() -> None:
    assert resolved({}, token="YWJjZA==") == "YWJjZA=="


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"datacenters": ["!lab"]}, "leaves a datacenter out of"),
        ({"datacenters": ["dc1", "!lab"]}, "leaves a datacenter out of"),
        ({"datacenters": ["*", "!"]}, "there must be the name"),
        ({"datacenters": ["*", "!*"]}, "there must be the name"),
        ({"datacenters": ["*", "lab", "!lab"]}, "named and left out at once"),
        ({"url": "unix://run/consul.sock"}, "by its whole path"),
        ({"url": "http://consul:8500", "tls_server_name": "server.dc1.consul"}, "https:// url alone"),
        ({"url": "https://consul:8501", "tls_server_name": "two names"}, "host's name"),
    ],
)
def test_what_would_mean_nothing_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ConsulSettings.model_validate(settings)
