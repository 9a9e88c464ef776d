"""Environment of Consul's command, as a configuration begins with it."""

from __future__ import annotations

import pytest

from auditor.settings.consul_environment import consul_environment


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({"CONSUL_HTTP_ADDR": "10.0.0.1:8500"}, "http://10.0.0.1:8500"),
        (
            {"CONSUL_HTTP_ADDR": "consul.example:8501", "CONSUL_HTTP_SSL": "true"},
            "https://consul.example:8501",
        ),
        (
            {"CONSUL_HTTP_ADDR": "http://consul.example:8501", "CONSUL_HTTP_SSL": "1"},
            "https://consul.example:8501",
        ),
        ({"CONSUL_HTTP_ADDR": "https://consul.example/"}, "https://consul.example"),
        ({"CONSUL_HTTP_ADDR": "unix:///run/consul.sock"}, "unix:///run/consul.sock"),
    ],
)
def test_the_address_is_read_as_consuls_command_reads_it(environment: dict[str, str], url: str) -> None:
    found = consul_environment(environment)
    assert (found.values["url"], found.variables["url"]) == (url, "CONSUL_HTTP_ADDR")


def test_files_are_taken_and_a_token_is_only_noticed() -> None:
    found = consul_environment(
        {"CONSUL_CACERT": "/ca.pem", "CONSUL_HTTP_TOKEN_FILE": "/token", "CONSUL_HTTP_TOKEN": "s3cr3t"}
    )
    assert found.values == {"ca_file": "/ca.pem", "token_file": "/token"}
    assert found.token
    assert "s3cr3t" not in repr(found)


def test_what_leads_nowhere_is_named_and_not_dropped() -> None:
    found = consul_environment({"CONSUL_NAMESPACE": "team", "CONSUL_HTTP_SSL_VERIFY": "false"})
    assert [name for name, _ in found.unused] == ["CONSUL_NAMESPACE", "CONSUL_HTTP_SSL_VERIFY"]
