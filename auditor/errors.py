"""The exception tree: what can go wrong, told apart by who must act.

    WgauditError                 one clear line: what, where, what to do
    ├── UsageError               the call's words are off (exit code 2)
    │   ├── ConfigError          a configuration file or key cannot be used
    │   └── StateBusy            another process holds the state's lock
    ├── SnapshotError            a recorded snapshot cannot be read or written
    ├── StateError               the state database cannot be used; a sweep still reports
    ├── ReportError              a report cannot be written where it was asked for
    ├── RegistryError            one datacenter's registrations could not be read; becomes a gap
    └── ProbeError               one node could not be seen; becomes a gap

`RegistryError` and `ProbeError` carry a `GapReason`: they never end a sweep, they turn into a
`Gap` that every report shows. The others end the command with their text as one line.
"""

from __future__ import annotations

from enum import StrEnum


class GapReason(StrEnum):
    """Why something could not be seen. The values are part of the JSON report's contract."""

    # the registry
    CONSUL_UNREACHABLE = "consul-unreachable"
    CONSUL_TIMEOUT = "consul-timeout"
    CONSUL_TLS = "consul-tls"
    CONSUL_FORBIDDEN = "consul-forbidden"
    CONSUL_HTTP = "consul-http-error"
    CONSUL_NO_LEADER = "consul-no-leader"
    CONSUL_NO_INDEX = "consul-no-index"
    CONSUL_UNREADABLE = "consul-unreadable"
    CONSUL_FILTERED = "consul-filtered"
    PREFIX_NOT_FOUND = "prefix-not-found"
    REGISTRY_EMPTY = "registry-empty"
    REGISTRY_UNREADABLE = "registry-unreadable"
    REGISTRY_SUSPECT = "registry-suspect"
    # the way to a node
    NO_HOST = "no-host"
    MESH_HOST = "mesh-host"
    RESOLVE = "resolve"
    UNREACHABLE = "unreachable"
    CONNECT_REFUSED = "connect-refused"
    CONNECT_TIMEOUT = "connect-timeout"
    HOST_KEY = "host-key"
    AUTH = "auth"
    SSH_PROTOCOL = "ssh-protocol"
    CONNECTION_LOST = "connection-lost"
    # on the node
    SUDO = "sudo"
    NO_WG = "no-wg"
    NO_DEVICE = "no-device"
    COMMAND_TIMEOUT = "command-timeout"
    OUTPUT_TOO_LARGE = "output-too-large"
    UNREADABLE_OUTPUT = "unreadable-output"
    WRONG_HOST = "wrong-host"
    # the sweep itself
    CUT_SHORT = "cut-short"
    INTERNAL = "internal-error"


class WgauditError(Exception):
    """Base of all errors of this program. `str()` is one line fit for a person at 3 a.m."""


class UsageError(WgauditError):
    """The command line asks for something that cannot be done."""


class ConfigError(UsageError):
    """A configuration file, key or value cannot be used; the text names file and key."""


class SnapshotError(WgauditError):
    """A recorded snapshot cannot be read or written; the text names the file and the place."""


class StateBusy(UsageError):
    """Another process holds the state's lock; the text says who."""


class StateError(WgauditError):
    """The state database cannot be used; the text names the file and the reason."""


class ReportError(WgauditError):
    """A report cannot be written to the file it was asked for."""


class RegistryError(WgauditError):
    """One datacenter's registrations could not be read whole."""

    def __init__(self, reason: GapReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ProbeError(WgauditError):
    """One node's live state could not be seen whole."""

    def __init__(self, reason: GapReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
