"""From the settings of notifiers to notifiers: calls' options, templates, the heartbeat, and faults in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alerts.notifiers.heartbeat import HeartbeatKind
from alerts.notifiers.slack import Slack
from alerts.notifiers.webhook import Webhook
from auditor.errors import ConfigError
from auditor.service.alert_parts import build_heartbeat, build_notifiers
from auditor.settings.file import Config, parse_config

URL = "https://chat.example/hook"


def config(**notifier: Any) -> Config:
    """A configuration with one notifier."""
    return parse_config({"notifiers": [{"name": "one", "url": URL, **notifier}]}, "wgaudit.toml")


def fault(**notifier: Any) -> str:
    """Why a notifier cannot be built."""
    with pytest.raises(ConfigError) as caught:
        build_notifiers(config(**notifier))
    return str(caught.value)


def test_what_the_settings_say_of_calls_reaches_the_notifier(tmp_path: Path) -> None:
    """Files are not read here: each call reads them anew."""
    token = tmp_path / "token"
    (webhook,) = build_notifiers(
        config(
            type="webhook",
            bearer_token_file=str(token),
            headers={"X-Team": "network"},
            header_files={"X-Key": str(token)},
            ca_file="/ca.pem",
            cert_file="/cert.pem",
            key_file="/key.pem",
            accept=[302, "queued"],
        )
    )
    assert isinstance(webhook, Webhook)
    assert webhook.options.bearer_token_file == token
    assert [name for name, _ in webhook.options.headers] == ["X-Team", "X-Key"]
    assert webhook.options.tls.ca == Path("/ca.pem")
    assert webhook.options.accept == (302, "queued")
    assert "network" not in repr(webhook)


def test_every_type_of_notifier_may_accept_more() -> None:
    (slack,) = build_notifiers(config(type="slack", accept=["fine"]))
    assert isinstance(slack, Slack)
    assert slack.options.accept == ("fine",)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"headers": {"Content-Type": "text/plain"}}, "are set by wgaudit"),
        ({"headers": {"A": "b"}, "header_files": {"a": "/x"}}, "gives one header twice"),
        ({"headers": {"authorization": "x"}, "bearer_token_file": "/x"}, "gives one header twice"),
        ({"headers": {"A B": "b"}}, "headers"),
        ({"headers": {"A": "two\nlines"}}, "one line of ASCII text"),
        ({"cert_file": "/x"}, "cert_file and key_file go together"),
        ({"accept": [20]}, "must be a status (100 to 599) or a part of a body in quotes"),
        ({"accept": [""]}, "accept"),
        ({"secret": "whsec_not base64"}, "whsec_ goes on in base64"),
        ({"template": "discrod"}, "it is one of discord, teams, telegram, ntfy"),
        ({"template": "./nothing.j2"}, "cannot read"),
        ({"template": "ntfy"}, "no attribute 'topic'"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line_with_the_place(keys: dict[str, Any], says: str) -> None:
    said = fault(type="webhook", **keys)
    assert says in said
    assert "\n" not in said


def test_a_template_of_ones_own_is_tried_before_it_is_needed(tmp_path: Path) -> None:
    """Not at three in the morning."""
    (tmp_path / "mine.j2").write_text('{"address": {{ notifications[0].incident.adress | tojson }}}')
    said = fault(type="webhook", template=str(tmp_path / "mine.j2"))
    assert said.startswith("notifiers.one.template: ")
    assert "adress" in said


def test_a_shipped_template_keeps_to_what_its_service_takes() -> None:
    (discord,) = build_notifiers(config(type="webhook", template="discord", max_per_message=20))
    assert (discord.max_per_message, discord.pause) == (10, 1.0)


def test_pagerdutys_address_may_have_a_path_but_no_password() -> None:
    pager = {"name": "p", "type": "pagerduty", "routing_key": "k" * 32}
    build_notifiers(parse_config({"notifiers": [{**pager, "api": "https://gw.example/pd"}]}, "w.toml"))
    with pytest.raises(ConfigError) as caught:
        parse_config({"notifiers": [{**pager, "api": "https://me:hunter2@gw.example"}]}, "w.toml")
    assert "hunter2" not in str(caught.value)


def test_the_heartbeat_is_what_the_settings_say() -> None:
    alerts = {
        "heartbeat_url": URL,
        "heartbeat_method": "GET",
        "heartbeat_start": False,
        "heartbeat_fail": False,
    }
    heartbeat = build_heartbeat(parse_config({"alerts": alerts}, "w.toml"))
    assert heartbeat is not None
    assert (heartbeat.method, heartbeat.kinds) == ("GET", {HeartbeatKind.SUCCESS})
    assert build_heartbeat(parse_config({}, "w.toml")) is None
