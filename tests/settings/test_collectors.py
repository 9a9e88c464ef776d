"""Settings of collectors: one server, regions that may stand in a subject, and what does not go together."""

from __future__ import annotations

import pytest

from auditor.errors import ConfigError
from auditor.settings.collectors import NatsAddress
from auditor.settings.file import Config, parse_toml

SERVER = 'nats = "tls://collect.example.net"\n'


def parsed(text: str) -> Config:
    return parse_toml(f"[collectors]\n{text}", "wgaudit.toml")


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    return [line.removeprefix("wgaudit.toml:") for line in caught.value.lines]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("tls://collect.example.net", NatsAddress("collect.example.net", 4222, True)),
        ("nats://198.18.0.5:4223", NatsAddress("198.18.0.5", 4223, False)),
        ("tls://[2001:db8::5]:4222/", NatsAddress("2001:db8::5", 4222, True)),
    ],
)
def test_the_server_is_read_with_natss_own_port_as_default(url: str, address: NatsAddress) -> None:
    server = parsed(f'nats = "{url}"\n').collectors.server
    assert server == address
    assert str(server) == f"{url.rstrip('/')}{'' if url.count(':') > 1 else ':4222'}"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("collect.example.net:4222", "must start with tls:// or nats://"),
        ("ws://collect.example.net", "must start with tls:// or nats://"),
        ("tls://", "must start with"),
        ("tls://somebody:hunter2@collect.example.net", "must not carry a user, password or token"),
        ("tls://a:4222,b:4222", "must be tls://HOST:PORT"),
        ("tls://collect.example.net:99999", "must be tls://HOST:PORT"),
        ("tls://collect.example.net:4222/x", "must be tls://HOST:PORT"),
        ("tls://*.example.net", "must be tls://HOST:PORT"),
    ],
)
def test_what_is_no_address_of_one_server_is_told_with_its_line_and_never_repeated(
    url: str, words: str
) -> None:
    (line,) = faults(f'nats = "{url}"\n')
    assert line.startswith(f"2: collectors.nats: {words}")
    assert "hunter2" not in line


@pytest.mark.parametrize("region", ["fra.>", "*", "f ra", "-fra", "", "f" * 33, "fra\u00e9"])
def test_a_region_that_may_not_stand_in_a_subject_is_refused(region: str) -> None:
    (line,) = faults(f'{SERVER}regions = ["sin", "{region}"]\n')
    assert line.startswith("3: collectors.regions[2]: must be a region's name")


def test_what_does_not_go_together_is_told_at_once() -> None:
    assert faults('regions = ["fra"]\ncert_file = "/c.pem"\n') == [
        "1: collectors: nats is missing: the server that collectors are asked through",
        "1: collectors: cert_file and key_file go together",
    ]
    assert faults('nats = "nats://198.18.0.5"\nca_file = "/ca.pem"\nregions = ["fra", "fra"]\n') == [
        "3: collectors.ca_file: is of use with a tls:// server alone; write nats = tls://…",
        "4: collectors.regions: names a region twice",
    ]
