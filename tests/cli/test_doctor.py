"""`wgaudit doctor`: each cause is told once, with advice that fits what came back."""

from __future__ import annotations

import base64
import json
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from subprocess import CompletedProcess

import jsonschema
import pytest

from auditor.errors import GapReason
from auditor.reports.json.doctor_v1 import DoctorV1
from auditor.service.advice import ADVICE, advice
from auditor.service.alert_state import opened_state
from auditor.state.lock import exclusive
from tests.alerts.fakes import NOON, firing, incident, keep
from tests.cli.command import wgaudit
from tests.doubles.server import Double, Reply
from tests.parts.consul import ConsulServer, make_tls
from tests.registry.scripted_server import HEALTHY, scripted_server

PREFIX = "wireguard/nodes/"
RECORD = {"public_key": base64.b64encode(bytes(32)).decode(), "ip": "10.0.0.7", "ssh_host": "127.0.0.1:1"}


class Told:
    """What the doctor said: mark, what was tried, got and to be done, by part."""

    def __init__(self, done: CompletedProcess[str]) -> None:
        assert "Traceback" not in done.stderr, done.stderr
        self.code = done.returncode
        self.text = done.stdout
        self.words = " ".join(done.stdout.split())
        self.parts: dict[str, str] = {}
        self.lines: dict[str, dict[str, str]] = {}
        for line in done.stdout.splitlines():
            if match := re.fullmatch(r"(ok  |FAIL|-   |warn)  (.*)", line):
                part = match[2]
                self.parts[part] = match[1].strip()
                self.lines[part] = {}
            elif match := re.fullmatch(r"      (tried|got|do) +(.*)", line):
                self.lines[part][match[1]] = match[2]
            elif match := re.fullmatch(r" {13}(\S.*)", line):
                last = next(reversed(self.lines[part]))
                self.lines[part][last] += f" {match[1]}"

    def marked(self, mark: str) -> list[str]:
        """The parts with this mark, in their order."""
        return [part for part, found in self.parts.items() if found == mark]


def doctor(folder: Path, consul: Mapping[str, object], *options: str, more: str = "") -> Told:
    """Runs the doctor with these settings of `[consul]`."""
    (folder / "known_hosts").touch()
    settings = "\n".join(f"{key} = {json.dumps(value)}" for key, value in consul.items())
    config = folder / "wgaudit.toml"
    config.write_text(
        f"[consul]\n{settings}\n[ssh]\nagent = false\nknown_hosts = '{folder}/known_hosts'\n"
        f"[state]\npath = '{folder}/state/wgaudit.db'\n{more}"
    )
    return Told(wgaudit("doctor", "--config", config, *options, folder=folder))


def test_the_heartbeat_is_reached_and_never_called(tmp_path: Path) -> None:
    """A call would tell whoever waits for it that a sweep did its work."""
    with Double() as service, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        told = doctor(tmp_path, {"url": silent}, more=f"[alerts]\nheartbeat_url = '{service.url}/uuid'\n")
        assert told.parts["heartbeat"] == "ok"
        assert "it was not called" in told.lines["heartbeat"]["tried"]
        assert "a call of the heartbeat (`wgaudit alerts test --config " in told.words
        assert service.calls == []
        told = doctor(tmp_path, {"url": silent}, more=f"[alerts]\nheartbeat_url = '{silent}/s3cr3t-uuid'\n")
    assert told.parts["heartbeat"] == "FAIL"
    assert "refuses connections" in told.lines["heartbeat"]["got"]
    assert "s3cr3t" not in told.text


def test_notifiers_are_tried_without_a_message(tmp_path: Path) -> None:
    """Settings, secret and the way there; an Alertmanager says whether it is ready."""
    (tmp_path / "token").write_text("t0ken")
    with Double() as service:
        service.fault = Reply(200, b"OK")
        told = doctor(
            tmp_path,
            {"url": "http://127.0.0.1:1"},
            more=f"[[notifiers]]\nname = 'am'\ntype = 'alertmanager'\nurl = '{service.url}/am/api/v2/alerts'\n"
            "bearer_token_file = 'token'\n"
            f"[[notifiers]]\nname = 'chat'\ntype = 'slack'\nurl = '{service.url}/T0/s3cr3t'\n"
            "[[notifiers]]\nname = 'team'\ntype = 'slack'\nurl_env = 'NOT_THERE'\n"
            "[[notifiers]]\nname = 'gone'\ntype = 'webhook'\nurl = 'http://127.0.0.1:1/s3cr3t'\n",
        )
        calls = [(call.method, call.path, call.headers.get("authorization")) for call in service.calls]
    assert calls == [("GET", "/am/-/ready", "Bearer t0ken")]
    assert told.parts["notifier am"] == told.parts["notifier chat"] == "ok"
    assert "/-/ready says 200 OK" in told.lines["notifier am"]["got"]
    assert "nothing was sent" in told.lines["notifier chat"]["tried"]
    assert "notifiers.team.url_env" in told.lines["notifier team"]["got"]
    assert told.lines["notifier gone"]["got"] == "127.0.0.1:1 refuses connections"
    assert "whether a page arrives (`wgaudit alerts test --config " in told.words
    assert "s3cr3t" not in told.text


def test_an_alertmanager_that_is_not_ready_fails_and_one_without_the_page_does_not(tmp_path: Path) -> None:
    more = "[[notifiers]]\nname = 'am'\ntype = 'alertmanager'\nurl = '{}'\n"
    with Double() as service:
        service.fault = Reply(503, b"starting")
        told = doctor(tmp_path, {"url": "http://127.0.0.1:1"}, more=more.format(service.url))
        assert told.parts["notifier am"] == "FAIL"
        service.fault = Reply(404, b"")
        told = doctor(tmp_path, {"url": "http://127.0.0.1:1"}, more=more.format(service.url))
        assert told.parts["notifier am"] == "ok"


def test_the_state_and_its_outbox_are_looked_at_and_left_as_they_are(tmp_path: Path) -> None:
    """What waits is normal; what was refused for good is a warning."""
    path = tmp_path / "state" / "wgaudit.db"
    told = doctor(tmp_path, {"url": "http://127.0.0.1:1"})
    assert told.lines["state"]["got"].startswith("not there yet; it can be made")
    assert not path.parent.exists()
    with opened_state(path) as state:
        keep(state.store, firing(), standing=[incident()])
    told = doctor(tmp_path, {"url": "http://127.0.0.1:1"})
    assert "schema up to date, can be written, the lock is free" in told.lines["state"]["got"]
    assert (told.parts["outbox"], told.lines["outbox"]["got"]) == ("ok", "1 waiting, 0 dead letters")
    with exclusive(path, 0):
        told = doctor(tmp_path, {"url": "http://127.0.0.1:1"})
    assert told.parts["state"] == "warn"
    assert "another wgaudit is at work here" in told.lines["state"]["got"]
    with opened_state(path) as state:
        state.notifications.refused(state.notifications.outbox(), "no such channel", NOON)
    told = doctor(tmp_path, {"url": "http://127.0.0.1:1"})
    assert (told.parts["outbox"], told.lines["outbox"]["got"]) == ("warn", "0 waiting, 1 dead letter")
    assert "wgaudit alerts retry" in told.lines["outbox"]["do"]
    path.write_bytes(b"no database at all, and longer than that a header is: " * 40)
    told = doctor(tmp_path, {"url": "http://127.0.0.1:1"})
    assert (told.parts["state"], told.parts["outbox"]) == ("FAIL", "-")


def test_the_same_as_json_is_one_document_of_its_schema(tmp_path: Path) -> None:
    told = doctor(tmp_path, {"url": "http://127.0.0.1:1"}, "--format", "json")
    document = json.loads(told.text)
    jsonschema.validate(document, json.loads(DoctorV1.schema_text()))
    outcomes = {item["part"]: (item["outcome"], item["reason"]) for item in document["trials"]}
    assert outcomes["Consul and its leader"] == ("fails", "consul-unreachable")
    assert outcomes["nodes by SSH"] == ("untried", None)
    assert (document["works"], told.code) == (False, 1)


def test_regions_that_one_source_names_are_a_warning(consul: ConsulServer, tmp_path: Path) -> None:
    """Nothing could mismatch there, and no report would ever say so by a finding."""
    record = {**RECORD, "region": "fra"}
    value = base64.b64encode(json.dumps(record).encode()).decode()
    (tmp_path / "export.json").write_text(json.dumps([{"key": f"{PREFIX}edge-fra-1", "value": value}]))
    told = doctor(tmp_path, {"file": str(tmp_path / "export.json")}, "--nodes", "0")
    assert told.parts["regions"] == "warn"
    assert "one witness (registration), not checked, for 1 of 1 node" in told.lines["regions"]["got"]
    more = "[regions]\nname_pattern = '^edge-(?P<region>[a-z]+)-'\n"
    told = doctor(tmp_path, {"file": str(tmp_path / "export.json")}, "--nodes", "0", more=more)
    assert told.parts["regions"] == "ok"


def test_works_is_said_of_what_was_tried_alone(tmp_path: Path) -> None:
    """The nodes that were not asked are counted, with how to ask them."""
    record = {**RECORD, "region": "fra"}
    value = base64.b64encode(json.dumps(record).encode()).decode()
    (tmp_path / "export.json").write_text(json.dumps([{"key": f"{PREFIX}edge-fra-1", "value": value}]))
    told = doctor(tmp_path, {"file": str(tmp_path / "export.json")}, "--nodes", "0")
    assert told.code == 0
    assert "All 4 that were tried work, 1 with a warning. Not tried: 1 of 1 node (--nodes all)" in told.words


@pytest.fixture(scope="module")
def consul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """A plain one, with one registration."""
    with ConsulServer(tmp_path_factory.mktemp("consul")) as server:
        server.put(f"{PREFIX}edge-fra-1", json.dumps(RECORD).encode())
        yield server


def test_a_consul_that_is_not_there_is_one_failure_and_the_rest_is_not_tried(tmp_path: Path) -> None:
    """One cause, told once; what needs Consul says that it was not tried."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        told = doctor(tmp_path, {"url": f"http://127.0.0.1:{nobody.getsockname()[1]}"})
    assert told.code == 1
    assert told.marked("FAIL") == ["Consul and its leader"]
    assert told.marked("-") == [
        "the prefix can be listed", "registrations", "nodes by SSH", "wg show wg0",
    ]  # fmt: skip
    assert told.text.count("consul-unreachable") == 1
    assert "1 of 7 parts does not work: Consul and its leader\n4 could not be tried" in told.text


def test_a_node_that_was_asked_for_is_not_blamed_where_consul_is_not_there(tmp_path: Path) -> None:
    """`--node` may be right: nobody knows."""
    told = doctor(tmp_path, {"url": "http://127.0.0.1:1"}, "--node", "edge-fra-1")
    assert told.marked("FAIL") == ["Consul and its leader"]


def test_a_consul_that_does_not_answer_is_waited_for_once(tmp_path: Path) -> None:
    """Not once more for each part that would ask it."""
    with scripted_server() as script:

        def never(_request: BaseHTTPRequestHandler) -> None:
            script.closing.wait()

        script.write = never
        told = doctor(tmp_path, {"url": script.url, "timeout": 0.3})
        asked = list(script.asked)
    assert told.marked("FAIL") == ["Consul and its leader"]
    assert told.lines["Consul and its leader"]["got"].startswith("consul-timeout: ")
    assert set(asked) == {"/v1/status/leader"}  # a read may be tried twice within its time


def test_https_to_a_plain_port_is_told_to_be_http(consul: ConsulServer, tmp_path: Path) -> None:
    """And nobody is sent to look for certificates."""
    told = doctor(tmp_path, {"url": consul.url.replace("http:", "https:")})
    assert told.marked("FAIL") == ["Consul and its leader"]
    assert told.lines["Consul and its leader"]["do"].startswith("write http:// in consul.url")


def test_http_to_a_tls_port_is_told_to_be_https(tmp_path: Path) -> None:
    """What came back says what it is; the agent's log would not help."""
    with ConsulServer(tmp_path / "consul", tls=make_tls(tmp_path)) as server:
        told = doctor(tmp_path, {"url": server.url.replace("https:", "http:")})
    assert told.marked("FAIL") == ["Consul and its leader"]
    assert told.lines["Consul and its leader"]["do"].startswith("write https:// in consul.url")


def test_an_unknown_datacenter_is_one_failure_of_the_listing(consul: ConsulServer, tmp_path: Path) -> None:
    """With the setting that names it, and not the token."""
    told = doctor(tmp_path, {"url": consul.url, "datacenters": ["nowhere"]})
    assert told.marked("ok")[:2] == ["configuration", "Consul and its leader"]
    assert told.marked("FAIL") == ["the prefix can be listed"]
    assert told.lines["the prefix can be listed"]["do"].startswith("correct the names in consul.datacenters")


def test_one_unknown_datacenter_beside_a_known_one_is_its_own_failure(
    consul: ConsulServer, tmp_path: Path
) -> None:
    """What could be read is told, and that it is not all."""
    told = doctor(tmp_path, {"url": consul.url, "datacenters": ["dc1", "nowhere"]})
    assert told.marked("FAIL") == ["registry is whole", "nodes by SSH"]
    assert told.lines["registry is whole"]["tried"] == "datacenter nowhere"
    assert told.parts["registrations"] == "-"
    assert "1 of 1 registrations can be read, and there may be more" in told.lines["registrations"]["got"]


def test_a_wrong_prefix_is_one_failure(consul: ConsulServer, tmp_path: Path) -> None:
    """Not three: listing, reading and parsing fail for one reason."""
    told = doctor(tmp_path, {"url": consul.url, "prefix": "no/such/"})
    assert told.marked("FAIL") == ["the prefix can be listed"]
    assert told.parts["registrations"] == "-"


def test_a_login_page_in_consuls_place_is_one_failure(tmp_path: Path) -> None:
    """It answers every question alike."""
    with scripted_server() as script:
        script.headers, script.body = {"Content-Type": "text/html"}, b"<html>Log in</html>"
        told = doctor(tmp_path, {"url": script.url})
    assert told.marked("FAIL") == ["Consul and its leader"]
    assert told.lines["Consul and its leader"]["do"].startswith("something other than Consul answers")


def test_a_refused_listing_is_one_failure_with_what_the_token_needs(tmp_path: Path) -> None:
    """A token that Consul knows, but that may not read the prefix."""
    with scripted_server() as script:

        def answer(request: BaseHTTPRequestHandler) -> None:
            leader = request.path.startswith("/v1/status")
            body = b'"127.0.0.1:8300"' if leader else b"Permission denied"
            request.send_response(200 if leader else 403)
            for name, value in HEALTHY.items():
                request.send_header(name, value)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body)

        script.write = answer
        told = doctor(tmp_path, {"url": script.url, "token": "known"})
    assert told.marked("FAIL") == ["the prefix can be listed"]
    assert told.lines["the prefix can be listed"]["do"].startswith("give the token key_prefix read")


def test_a_registration_that_cannot_be_read_fails_although_the_others_can(tmp_path: Path) -> None:
    """With its place and reason."""
    value = {
        name: base64.b64encode(text).decode()
        for name, text in {"a": json.dumps(RECORD).encode(), "b": b""}.items()
    }
    (tmp_path / "export.json").write_text(
        json.dumps([{"key": f"{PREFIX}{name}", "value": text} for name, text in value.items()])
    )
    told = doctor(tmp_path, {"file": str(tmp_path / "export.json")})
    assert told.parts["registrations"] == "FAIL"
    assert told.lines["registrations"]["got"] == f"1 of 2 registrations can be read; {PREFIX}b: empty value"


def test_a_registration_with_one_odd_field_is_counted_once(tmp_path: Path) -> None:
    """It is among the invalid and among the readable."""
    odd = json.dumps({**RECORD, "region": "a\nb"}).encode()
    (tmp_path / "export.json").write_text(
        json.dumps([{"key": f"{PREFIX}a", "value": base64.b64encode(odd).decode()}])
    )
    told = doctor(tmp_path, {"file": str(tmp_path / "export.json")})
    assert told.lines["registrations"]["got"].startswith("0 of 1 registrations can be read; ")


def test_every_failure_comes_with_something_to_do(tmp_path: Path) -> None:
    """An empty registry too."""
    (tmp_path / "export.json").write_text("[]")
    told = doctor(tmp_path, {"file": str(tmp_path / "export.json")})
    assert told.marked("FAIL")
    assert all("do" in told.lines[part] for part in told.marked("FAIL"))


def test_a_token_that_others_may_read_is_a_warning_and_no_failure(consul: ConsulServer) -> None:
    """It works; but it should not be so."""
    # pytest's own folders are closed to others, and so is what lies in them.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        token = folder / "token"
        token.write_text("1234\n")
        token.chmod(0o644)
        told = doctor(folder, {"url": consul.url, "token_file": str(token)})
        assert told.marked("warn") == ["secrets", "regions"]
        assert "everybody here may read it (mode 0644)" in told.lines["secrets"]["got"]
        assert "secrets" not in told.text.splitlines()[-2]
        token.chmod(0o600)
        assert doctor(folder, {"url": consul.url, "token_file": str(token)}).marked("warn") == ["regions"]


@pytest.mark.parametrize("reason", GapReason)
def test_every_reason_has_advice_that_is_one_line(reason: GapReason) -> None:
    """Whatever the detail."""
    assert advice(reason, "anything") == ADVICE[reason]
    assert "\n" not in ADVICE[reason]


@pytest.mark.parametrize(
    ("reason", "detail", "begins"),
    [
        (GapReason.CONSUL_FORBIDDEN, "u/v1/kv/p/: 403 ACL not found; …", "Consul does not know this token"),
        (
            GapReason.CONSUL_FORBIDDEN,
            "u/v1/catalog/nodes: 403 Permission denied; …",
            "give the token node_prefix",
        ),
        (GapReason.CONSUL_HTTP, "u: 301, redirected to https://x/; …", "set consul.url to the address"),
        (GapReason.CONSUL_TLS, "u: its certificate is not trusted: …", "set consul.ca_file"),
        (GapReason.CONSUL_TLS, "u: it refused our client certificate (…)", "give consul.cert_file"),
    ],
)
def test_advice_fits_what_came_back(reason: GapReason, detail: str, begins: str) -> None:
    """Rather than the reason's most frequent cause."""
    assert advice(reason, detail).startswith(begins)


def test_a_collectors_configuration_is_called_one_and_no_word_of_consul_is_said_of_its_parts(
    tmp_path: Path,
) -> None:
    (tmp_path / "collector.toml").write_text('[collectors]\nnats = "nats://127.0.0.1:1"\n')
    told = Told(wgaudit("doctor", "--config", "collector.toml", "--region", "fra", folder=tmp_path))
    assert told.code == 1
    assert "a collector's: it has a NATS server, no collectors.regions and no [consul]" in told.words
    assert "Consul" not in told.text
    assert "Connect call failed" in told.words
    (tmp_path / "auditor.toml").write_text('[consul]\nurl = "http://127.0.0.1:1"\n')
    refused = wgaudit("doctor", "--config", "auditor.toml", "--region", "fra", folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--region: this is no collector's configuration" in refused.stderr
