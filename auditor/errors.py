"""Exception tree, divided by the party that must act.

    WgauditError                 one clear line: what, where, what to do
    ├── UsageError               the call's words are off (exit code 2)
    │   ├── ConfigError          a configuration file or key cannot be used
    │   └── NotAdopted           the registry has no address claims yet; `wgaudit adopt` comes first
    ├── InvalidValue             a text is no address, prefix or key (a `ValueError`, too)
    ├── SnapshotError            a recorded snapshot cannot be read or written
    ├── StateError               the state database cannot be used; a sweep still reports
    ├── StateBusy                another process holds the state's lock: not now, or with --lock-wait
    ├── NotLeading               another auditor tells people: this one writes and sends nothing
    ├── ReportError              a report cannot be written where it was asked for
    ├── RegistryError            one datacenter's registrations could not be read; becomes a gap
    ├── ProbeError               one node could not be seen; becomes a gap
    │   └── ChangeFailed         the node answered, and did not make a change
    ├── StreamBroken             what a collector or an auditor sends is not whole; becomes a gap of each node
    ├── UnreadableLine           a line of known_hosts that ssh skips; counted in a warning
    ├── RevocationError          a line of known_hosts that revokes a key, and cannot be read
    ├── UnfollowableLine         a line of ssh's configuration that cannot be followed for one host; becomes a gap
    ├── NatsAway                 the NATS server was not reached, or let nobody in; becomes gaps
    ├── JobRefused               a collector does not take a job; the auditor makes gaps of it
    ├── NotReached               none of a name's addresses was reached (an `OSError`, too); becomes a gap
    ├── StoreError               Consul's store could not be read, or whether it was written is not known
    ├── StoreConflict            the store refused a transaction whole; nothing was written
    ├── DeliveryError            a notifier's other side did not take a message; becomes a receipt
    ├── UnusableTemplate         a notifier's template cannot be read, or makes no JSON
    ├── PlanError                a repair plan cannot be read or written
    ├── JournalError             an apply's journal cannot be read or written
    ├── Undecided                no rule says who keeps an address; becomes an entry of the plan
    ├── Surprise                 an apply met something that is not as planned, and ends
    ├── DrainFailed          a node was not taken out of production or put back, as far as is known
    ├── LedgerSurprise           the registry is not as the plan has it; ends an apply as a `Surprise`
    ├── Stopped                  an apply was asked to stop, and did
    ├── AllocationError          no address was handed out or freed, as far as is known
    │   └── NotConfirmed         the store did not confirm in time
    ├── NotRestored              a lost registration was not put back, as far as is known
    ├── NotAdoptable             a registry with faults gets no address claims
    ├── LineStopped              a notifier's turn is over; the rest waits for the next sweep
    ├── WatchEnded               the watch has ended: no further view comes
    │   └── NothingSeen          it ended before anything was seen
    ├── TooManyAsk               so many pages are being made that a further one must be asked for later
    └── AdoptionDisturbed        a registration changed while claims were built; to be repeated

`RegistryError` and `ProbeError` carry a `GapReason`: they never end a sweep, they turn into a
`Gap` that every report shows. Those that "become" something never reach a person by themselves. The
others end the command with their text as one line.

All exceptions of both packages are here, but for private ones that never leave their module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class GapReason(StrEnum):
    """Reason of a gap. The values are part of the JSON report's contract."""

    # the registry
    CONSUL_UNREACHABLE = "consul-unreachable"
    CONSUL_TIMEOUT = "consul-timeout"
    CONSUL_TLS = "consul-tls"
    CONSUL_FORBIDDEN = "consul-forbidden"
    CONSUL_HTTP = "consul-http-error"
    CONSUL_NO_LEADER = "consul-no-leader"
    CONSUL_NO_INDEX = "consul-no-index"
    CONSUL_STALE = "consul-stale"
    CONSUL_UNREADABLE = "consul-unreadable"
    CONSUL_FILTERED = "consul-filtered"
    DATACENTER_GONE = "datacenter-gone"
    PREFIX_NOT_FOUND = "prefix-not-found"
    REGISTRY_EMPTY = "registry-empty"
    REGISTRY_UNREADABLE = "registry-unreadable"
    REGISTRY_SUSPECT = "registry-suspect"
    UNSETTLED = "unsettled"
    # the way to a node
    NO_HOST = "no-host"
    MESH_HOST = "mesh-host"
    RESOLVE = "resolve"
    UNREACHABLE = "unreachable"
    CONNECT_REFUSED = "connect-refused"
    CONNECT_TIMEOUT = "connect-timeout"
    LOGIN_TIMEOUT = "login-timeout"
    HOST_KEY = "host-key"
    AUTH = "auth"
    THROTTLED = "throttled"
    SSH_PROTOCOL = "ssh-protocol"
    CONNECTION_LOST = "connection-lost"
    NO_CHANNEL = "no-channel"
    PROBE_NOT_BEGUN = "probe-not-begun"
    SILENT = "silent"
    CANNOT_FOLLOW = "cannot-follow"
    # a collector elsewhere
    COLLECTOR_MISSING = "collector-missing"
    COLLECTOR_REFUSED = "collector-refused"
    COLLECTOR_LOST = "collector-lost"
    # on the node
    SUDO = "sudo"
    NO_WG = "no-wg"
    NO_DEVICE = "no-device"
    COMMAND_TIMEOUT = "command-timeout"
    OUTPUT_TOO_LARGE = "output-too-large"
    UNREADABLE_OUTPUT = "unreadable-output"
    WRONG_HOST = "wrong-host"
    ROUTES_UNREAD = "routes-unread"
    TRANSFER_UNREAD = "transfer-unread"
    # a witness' question over the mesh
    NO_ANSWER = "no-answer"
    ANSWER_REFUSED = "answer-refused"
    UNREADABLE_ANSWER = "unreadable-answer"
    FORWARDING_REFUSED = "forwarding-refused"
    LOGINS_COUNTED = "logins-counted"
    # the sweep itself
    CUT_SHORT = "cut-short"
    INTERNAL = "internal-error"


class GapScope(StrEnum):
    """Scope that a gap hides. The values are part of the JSON report's contract."""

    REGISTRY = "registry"
    """Registrations may be missing."""
    NODE = "node"
    """One node's own state is missing."""
    WITNESS = "witness"
    """One witness' word is missing, beside what registry and nodes say."""
    SWEEP = "sweep"
    """The sweep is not whole, or doubts what it read."""


class WgauditError(Exception):
    """Base of all errors of this program. `str()` is one line fit for a person at 3 a.m."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The text to show, a line each. Only an error that tells several faults has more than one."""
        return (str(self),)


class UsageError(WgauditError):
    """The command line asks for something that cannot be done."""


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One place in a configuration file that cannot be used. Holds no value: it may be a secret."""

    file: str
    key: str
    """Dotted, entries of lists counted from one; empty: the file as a whole."""
    reason: str
    line: int | None = None
    """Counted from one; None: not known."""
    column: int | None = None
    """Set for a syntax error alone: a key says itself where it is in its line."""

    def __str__(self) -> str:
        """`file:line:column: key: reason`, without the parts that are not known."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return ": ".join(part for part in (place, self.key, self.reason) if part)


class ConfigError(UsageError):
    """A configuration file, key or value cannot be used; the text names file and key, one line a fault."""

    def __init__(self, text: str | tuple[ConfigFault, ...]) -> None:
        """`text`: one line, or all faults of a file."""
        self.faults = text if isinstance(text, tuple) else ()
        super().__init__(text if isinstance(text, str) else "\n".join(map(str, text)))

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a fault."""
        return tuple(map(str, self.faults)) or super().lines


class SnapshotError(WgauditError):
    """A recorded snapshot cannot be read or written; the text names the file and the place."""


class NotAdopted(UsageError):
    """The registry has no claims yet, so nothing would keep an address from being given twice."""


class InvalidValue(WgauditError, ValueError):
    """The text is not an address or key; `str()` says why, without repeating the text."""


class StateError(WgauditError):
    """The state database cannot be used; the text names the file and the reason."""


class StateBusy(WgauditError):
    """Another process holds the state's lock; the text says which one. Nothing is wrong with call or state."""

    def __init__(self, text: str, *, by_watch: bool = False) -> None:
        """by_watch: a watch holds it, which does not end by itself: waiting is in vain."""
        super().__init__(text)
        self.by_watch = by_watch


class NotLeading(WgauditError):
    """The lease by which this auditor told people is over, or is another one's: nothing is written, nothing is sent."""

    def __init__(self) -> None:
        super().__init__("another auditor tells now, or this one's lease is over")


class ReportError(WgauditError):
    """A report cannot be written to the file it was asked for."""


class RegistryError(WgauditError):
    """One datacenter's registrations could not be read whole."""

    def __init__(
        self, reason: GapReason, detail: str, *, passing: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.passing = passing
        """True: it may be over in a moment, so asking again is of use."""
        self.retry_after = retry_after
        """Seconds after which the other side asked to be tried again; None: it did not say."""


class ProbeError(WgauditError):
    """One node's live state could not be seen whole."""

    def __init__(self, reason: GapReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class ChangeFailed(ProbeError):
    """The node answered, and says that it did not make the change. `str()` is one line, without a gap's reason."""

    def __init__(self, detail: str, *, refused: bool) -> None:
        super().__init__(GapReason.UNREADABLE_OUTPUT, detail)
        self.args = (f"{'refused' if refused else 'failed'}: {detail}",)
        self.refused = refused
        """True: nothing was changed. False: it was begun, and how far it came must be looked at."""


class StreamBroken(WgauditError):
    """What the other side of a collector's job sends is not whole, or not what was agreed; the text says how."""


class UnreadableLine(WgauditError):
    """Line of known_hosts that ssh skips. `args[0]` says why, without its text."""


class RevocationError(WgauditError):
    """Line of known_hosts that revokes a key, and cannot be read. `str()` names file and line."""


class UnfollowableLine(WgauditError):
    """Line of ssh's configuration that cannot be followed for this host. `str()` is file, line and reason."""


class NatsAway(WgauditError):
    """The NATS server was not reached, or did not let this user in; `str()` is one line, without any secret."""


class JobRefused(WgauditError):
    """A collector does not take a job; `str()` says why, for its auditor."""


class NotReached(WgauditError, OSError):
    """Failure to connect to any address of a name. `faults`: each address with its error."""

    def __init__(self, faults: Sequence[tuple[str, OSError]]) -> None:
        super().__init__("; ".join(f"{address}: {error.strerror or error}" for address, error in faults))
        self.faults = tuple(faults)


class StoreError(WgauditError):
    """The store could not be read, or it is not known whether it was written; the text says where and why."""

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent
        """True: it was refused for a reason that does not pass by itself, so asking again is of no use."""


class StoreConflict(WgauditError):
    """The store refused a transaction as a whole: something in it was no longer so. Nothing was written."""


class DeliveryError(WgauditError):
    """A notifier's other side did not take a message. `str()` is one line without any secret."""

    def __init__(
        self,
        detail: str,
        *,
        permanent: bool,
        retry_after: float | None = None,
        unclear: bool = False,
        local: bool = False,
    ) -> None:
        super().__init__(detail)
        self.permanent = permanent
        """True: the same call will be refused again; it goes to the dead letters."""
        self.unclear = unclear
        """True: it was sent, and nobody said whether it was taken. Such a call is not repeated without end."""
        self.local = local
        """True: nothing was sent, for something on this side cannot be used. It waits until that is repaired."""
        self.retry_after = retry_after
        """Seconds after which the other side asked to be tried again; None: it did not say."""


class UnusableTemplate(WgauditError):
    """Template that cannot be read, or makes no JSON; the text says why, and in which line."""


class PlanError(WgauditError):
    """A plan cannot be read or written; the text names the file and the place."""


class JournalError(WgauditError):
    """The journal cannot be read or written; nothing is changed without one."""


class Undecided(WgauditError):
    """No rule says who keeps the address; `str()` says why, and what a person can do."""


class Surprise(WgauditError):
    """Something was not as planned; nothing more is done. The text says what, and where."""


class DrainFailed(WgauditError):
    """A node was not taken out of production or put back, as far as is known; the text says why."""


class LedgerSurprise(WgauditError):
    """The registry is not as the plan has it; the text says what stands there."""


class Stopped(WgauditError):
    """An apply was asked to stop; nothing more is done."""


class AllocationError(WgauditError):
    """No address was handed out or freed, as far as is known; the text says why, and what is not known."""


class NotConfirmed(AllocationError):
    """The store did not confirm in time; the text says whether something may have been written."""


class NotRestored(WgauditError):
    """A lost registration was not put back, as far as is known; the text says why, and what is not known."""


class NotAdoptable(WgauditError):
    """The registry holds faults, so no claims are built; the text says how many."""

    def __init__(self, text: str, report: object) -> None:
        super().__init__(text)
        self.report = report
        """The `Report` that shows the faults as a sweep would; an object here, for errors know no values."""


class LineStopped(WgauditError):
    """End of one notifier's turn; the text says why, the rest waits for the next sweep."""


class WatchEnded(WgauditError):
    """The watch has ended: no further view comes."""


class NothingSeen(WatchEnded):
    """The watch ended before anything was seen."""


class TooManyAsk(WgauditError):
    """So many pages are being made that a further one must be asked for later."""


class AdoptionDisturbed(WgauditError):
    """A registration changed while claims were built; what was built stays, and repeating it goes on."""
