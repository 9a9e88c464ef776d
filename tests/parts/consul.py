"""A real Consul server for tests: one on loopback or in a namespace, with ACL, TLS and a WAN if wanted."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.parts import require
from tests.parts.request import Answer, Request, ask
from tests.parts.with_parent import with_parent

_REPOSITORY = Path(__file__).resolve().parents[2]
_READY_WITHIN = 60.0
_POLL = 0.1
_TRANSACTION = 64  # operations that Consul takes in one transaction (before 1.14)

HOW = "put `consul` on PATH, or install Debian's 1.8.7 into .cache/consul (tests/parts/install)"


def consul_binary() -> Path | None:
    """The `consul` to run: the one on PATH, else the one that was unpacked into .cache/consul."""
    on_path = shutil.which("consul")
    if on_path:
        return Path(on_path)
    unpacked = _REPOSITORY / ".cache/consul/usr/bin/consul"
    return unpacked if os.access(unpacked, os.X_OK) else None


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the server's, and a client's, both signed by one CA."""

    ca: Path
    cert: Path
    key: Path
    client_cert: Path
    client_key: Path


class ConsulServer:
    """One Consul server, as a context manager. Its folder keeps configuration, data and log.

    `address` is bound and advertised. `inside` is entered wherever the server is started or asked, to be in another
    network there. `acl`: default deny, and `token` is the management token. `tls`:
    only https, and a client certificate is demanded. `join_wan`: `wan_address` of servers of other
    datacenters; entering waits until they are seen. `cluster`: `lan_address` of all servers of one datacenter; see
    `ConsulCluster`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        datacenter: str = "dc1",
        address: str = "127.0.0.1",
        inside: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
        acl: bool = False,
        tls: TlsFiles | None = None,
        join_wan: Sequence[str] = (),
        cluster: Sequence[str] = (),
    ) -> None:
        require("consul", consul_binary() is not None, HOW)
        self.folder = folder
        self.datacenter = datacenter
        self.address = address
        self._inside = inside
        self.acl = acl
        self.tls = tls
        self.join_wan = tuple(join_wan)
        self.cluster = tuple(cluster)
        self.token = ""
        with inside():
            self._ports = _free_ports(address, 4)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def http_address(self) -> str:
        """`host:port` of the HTTP (with `tls`: HTTPS) API."""
        return f"{self.address}:{self._ports[0]}"

    @property
    def url(self) -> str:
        """Base URL of the API."""
        return f"{'https' if self.tls else 'http'}://{self.http_address}"

    @property
    def lan_address(self) -> str:
        """What a server of the same datacenter joins."""
        return f"{self.address}:{self._ports[1]}"

    @property
    def raft_address(self) -> str:
        """How Consul names it where it says who leads."""
        return f"{self.address}:{self._ports[3]}"

    @property
    def wan_address(self) -> str:
        """What a server of another datacenter joins."""
        return f"{self.address}:{self._ports[2]}"

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self._process.pid if self._process else None

    def __enter__(self) -> ConsulServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server and returns when it has a leader and takes writes."""
        self.launch()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Starts the server and returns at once."""
        binary = consul_binary()
        assert binary is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "consul.json"
        configuration.write_text(json.dumps(self._configuration(_version(binary)), indent=1))
        with (self.folder / "consul.log").open("ab") as log, self._inside():
            self._process = subprocess.Popen(
                with_parent([str(binary), "agent", f"-config-file={configuration}"]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is the test's business, not the server's
            )

    def stop(self) -> None:
        """Ends the server. Its data stay, so that `restart` finds them."""
        process = self._process
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
        self.kill()

    def kill(self) -> None:
        """Ends the server as a crash does."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def restart(self) -> None:
        """Stops and starts on the same ports and data."""
        self.stop()
        self.start()

    def put(self, key: str, value: bytes) -> None:
        """Writes one KV key."""
        self._ok("PUT", f"/v1/kv/{quote(key, safe='/')}", value)

    def put_many(self, records: Mapping[str, bytes]) -> None:
        """Writes many KV keys, 64 in one transaction: thousands take seconds."""
        items = list(records.items())
        for start in range(0, len(items), _TRANSACTION):
            operations = [
                {"KV": {"Verb": "set", "Key": key, "Value": base64.b64encode(value).decode()}}
                for key, value in items[start : start + _TRANSACTION]
            ]
            self._ok("PUT", "/v1/txn", json.dumps(operations).encode())

    def delete(self, key: str, *, recurse: bool = False) -> None:
        """Deletes one KV key; with `recurse` all that begin with it."""
        self._ok("DELETE", f"/v1/kv/{quote(key, safe='/')}{'?recurse' if recurse else ''}")

    def snapshot(self) -> bytes:
        """All that it holds, as `consul snapshot save` keeps it."""
        return self._ok("GET", "/v1/snapshot")

    def restore(self, snapshot: bytes) -> None:
        """Puts a snapshot in the place of all that it holds; its index goes back, too."""
        self._ok("PUT", "/v1/snapshot", snapshot)

    def register(self, node: str, address: str, meta: Mapping[str, str]) -> None:
        """Registers a node with its meta in the catalog."""
        document = {"Node": node, "Address": address, "NodeMeta": dict(meta)}
        self._ok("PUT", "/v1/catalog/register", json.dumps(document).encode())

    def create_token(self, rules: str) -> str:
        """A new ACL token that has just these rules, such as `key_prefix "a/" { policy = "read" }`."""
        name = f"test-{time.monotonic_ns()}"
        self._ok("PUT", "/v1/acl/policy", json.dumps({"Name": name, "Rules": rules}).encode())
        answer = self._ok("PUT", "/v1/acl/token", json.dumps({"Policies": [{"Name": name}]}).encode())
        return str(json.loads(answer)["SecretID"])

    def request(self, method: str, path: str, body: bytes = b"") -> Answer:
        """One request to the API with the management token, from where the server runs."""
        headers = {"X-Consul-Token": self.token} if self.token else {}
        tls = self.tls
        asked = Request(
            url=self.url + path,
            method=method,
            body=body,
            headers=headers,
            ca=str(tls.ca) if tls else "",
            cert=str(tls.client_cert) if tls else "",
            key=str(tls.client_key) if tls else "",
        )
        with self._inside():
            return ask(asked)

    def log_tail(self) -> str:
        """The last lines of the server's log, for a test that fails."""
        log = self.folder / "consul.log"
        return log.read_text(errors="replace")[-2000:] if log.exists() else ""

    def _ok(self, method: str, path: str, body: bytes = b"") -> bytes:
        answer = self.request(method, path, body)
        if answer.status != 200:
            raise RuntimeError(f"Consul: {method} {path}: {answer.status} {answer.body[:300]!r}")
        return answer.body

    def _configuration(self, version: tuple[int, int]) -> dict[str, object]:
        api, lan, wan, server = self._ports
        ports = {"dns": -1, "grpc": -1, "serf_lan": lan, "serf_wan": wan, "server": server}
        ports |= {"http": -1, "https": api} if self.tls else {"http": api, "https": -1}
        if version >= (1, 14):
            ports["grpc_tls"] = -1
        settings: dict[str, object] = {
            "server": True,
            "bootstrap_expect": len(self.cluster) or 1,
            "datacenter": self.datacenter,
            "node_name": f"consul-{self.datacenter}-{self.address}",
            "data_dir": str(self.folder / "data"),
            "bind_addr": self.address,
            "client_addr": self.address,
            "advertise_addr": self.address,
            "ports": ports,
            "disable_update_check": True,
            "log_level": "WARN",
            "performance": {"raft_multiplier": 1},
            "connect": {"enabled": False},
            "leave_on_terminate": False,
        }
        if self.acl:
            settings["acl"] = {"enabled": True, "default_policy": "deny"}
        if self.cluster:
            settings["retry_join"] = list(self.cluster)
            settings["retry_interval"] = "1s"
        if self.join_wan:
            settings["retry_join_wan"] = list(self.join_wan)
            settings["retry_interval_wan"] = "1s"
        if self.tls:
            settings |= {
                "ca_file": str(self.tls.ca),
                "cert_file": str(self.tls.cert),
                "key_file": str(self.tls.key),
                "verify_incoming_https": True,
            }
        return settings

    def wait_until_ready(self) -> None:
        """Returns when it has a leader and takes writes."""
        self._poll("a leader", lambda: self.request("GET", "/v1/status/leader").body not in (b'""', b""))
        if self.acl and not self.token:
            self._poll("its ACL system", self._bootstrap_acl)
        if self.acl:
            # One that follows believes for a while that some server knows tokens of old alone.
            self._poll("policies", lambda: self.request("GET", "/v1/acl/policies").status == 200)
        self._poll("a write", lambda: self.request("PUT", "/v1/kv/ready", b"yes").status == 200)
        self.delete("ready")
        if self.join_wan:
            self._poll("the other datacenters", self._sees_the_others)

    def _bootstrap_acl(self) -> bool:
        answer = self.request("PUT", "/v1/acl/bootstrap")
        if answer.status == 200:
            self.token = str(json.loads(answer.body)["SecretID"])
        return answer.status == 200

    def _sees_the_others(self) -> bool:
        answer = self.request("GET", "/v1/catalog/datacenters")
        names = json.loads(answer.body) if answer.status == 200 else []
        reads = [self.request("GET", f"/v1/kv/?keys&dc={quote(name)}").status for name in names]
        return len(names) > len(self.join_wan) and all(status in (200, 404) for status in reads)

    def _poll(self, what: str, ready: Callable[[], bool]) -> None:
        """Asks again and again until it is so, the deadline passes, or the server has died."""
        deadline = time.monotonic() + _READY_WITHIN
        while not ready():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"Consul died before it had {what}:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Consul had not {what} in {_READY_WITHIN} s:\n{self.log_tail()}")
            time.sleep(_POLL)


def make_tls(
    folder: Path, address: str = "127.0.0.1", datacenter: str = "dc1", *, key_identifiers: bool = True
) -> TlsFiles:
    """A CA, a server certificate for `address` and a client certificate, valid for a day.

    Without `key_identifiers` they are what many a hand-made CA signs, and Python 3.13 and newer refuse.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("wgaudit test CA")
    ca = _certificate(
        ca_name, ca_key.public_key(), ca_name, ca_key, authority=True, key_identifiers=key_identifiers
    )
    files = TlsFiles(
        *(folder / name for name in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key"))
    )
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    names = (x509.DNSName(f"server.{datacenter}.consul"), x509.IPAddress(ip_address(address)))
    for certificate, key_file, subject in (
        (files.cert, files.key, f"server.{datacenter}.consul"),
        (files.client_cert, files.client_key, "client"),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _certificate(
            _name(subject), key.public_key(), ca_name, ca_key, names=names, key_identifiers=key_identifiers
        )
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return files


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
    names: Sequence[x509.GeneralName] = (),
    key_identifiers: bool = True,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_usage(authority=authority), critical=True)
    )
    if key_identifiers:
        of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        of_subject = x509.SubjectKeyIdentifier.from_public_key(public_key)
        builder = builder.add_extension(of_issuer, critical=False).add_extension(of_subject, critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(*, authority: bool) -> x509.KeyUsage:
    """What the key may do: sign certificates, or prove who it is."""
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _version(binary: Path) -> tuple[int, int]:
    output = subprocess.run([str(binary), "version"], capture_output=True, text=True, check=False, timeout=20)
    match = re.search(r"v?(\d+)\.(\d+)\.", output.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _free_ports(address: str, count: int) -> list[int]:
    """Ports that were free for TCP and UDP a moment ago (Serf wants both)."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            tcp.bind((address, 0))
            port = tcp.getsockname()[1]
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                udp.bind((address, port))
                ports.append(port)
        return ports
