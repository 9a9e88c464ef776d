"""Advice for each reason of a gap, in one line; docs/gaps.md says more."""

from __future__ import annotations

from auditor.errors import GapReason

ADVICE: dict[GapReason, str] = {
    GapReason.CONSUL_UNREACHABLE: "check consul.url, and that the agent runs and may be reached from here",
    GapReason.CONSUL_TIMEOUT: "check the agent's health and the way to it; raise consul.timeout if it is only slow",
    GapReason.CONSUL_TLS: "check consul.ca_file; cert_file with key_file if the agent asks for a client certificate",
    GapReason.CONSUL_FORBIDDEN: "give the token key_prefix read on the prefix (docs/security.md has the policy)",
    GapReason.CONSUL_HTTP: "read the agent's log; the answer is quoted above",
    GapReason.CONSUL_NO_LEADER: "Consul has no leader: bring the servers back before you trust any registry",
    GapReason.CONSUL_NO_INDEX: "something other than Consul answers at consul.url (a proxy?)",
    GapReason.CONSUL_STALE: "set consul.url to the agent itself, past any cache or proxy",
    GapReason.CONSUL_UNREADABLE: "something other than Consul answers at consul.url (a proxy, a login page?)",
    GapReason.CONSUL_FILTERED: "the token sees only a part: give it key_prefix read on the whole prefix",
    GapReason.DATACENTER_GONE: 'bring it back, or add "!NAME" to consul.datacenters if it was taken down for good',
    GapReason.PREFIX_NOT_FOUND: "check consul.prefix, and that the token may read it: Consul says 404 for both",
    GapReason.REGISTRY_EMPTY: "check consul.prefix and consul.datacenters",
    GapReason.REGISTRY_UNREADABLE: "write the file anew with `consul kv export PREFIX`",
    GapReason.REGISTRY_SUSPECT: "look for ghost servers, and check that the token may read the whole prefix",
    GapReason.UNSETTLED: "find what keeps writing its registration or its device, and stop that; then run it again",
    GapReason.NO_HOST: "set [ssh] host, or register ssh_host or endpoint",
    GapReason.MESH_HOST: "register an underlay address as ssh_host: the mesh may be what is broken",
    GapReason.RESOLVE: "check the name, and this machine's resolver",
    GapReason.UNREACHABLE: "check the route to the node",
    GapReason.CONNECT_REFUSED: "check that sshd runs there, and ssh.port",
    GapReason.CONNECT_TIMEOUT: "check that the node is up and that no firewall drops port 22 from here",
    GapReason.LOGIN_TIMEOUT: "look at sshd's load and its PAM modules there; raise ssh.connect_timeout",
    GapReason.NO_CHANNEL: "look at the PAM session modules there, and sshd's MaxSessions; raise ssh.command_timeout",
    GapReason.PROBE_NOT_BEGUN: "look at the start-up files of the login shell there (.bashrc, /etc/profile.d)",
    GapReason.SILENT: "log in to the node: its sshd holds the session, and nothing comes; look at its load",
    GapReason.CANNOT_FOLLOW: "install the newer output of `wgaudit probe-script` there, and a sha256sum",
    GapReason.COLLECTOR_MISSING: "start `wgaudit collector` there, and list its region in collectors.regions; or set "
    "collectors.fallback",
    GapReason.COLLECTOR_REFUSED: "make mesh.device the same on both sides; update the older of the two",
    GapReason.COLLECTOR_LOST: "read the collector's log, and look at the way between it, NATS and this machine",
    GapReason.HOST_KEY: "verify the node's host key by another way and put it into ssh.known_hosts",
    GapReason.AUTH: "put the audit's public key into the node's authorized_keys; check ssh.user",
    GapReason.THROTTLED: "wait, then ask again; lower ssh.logins_per_host, or raise sshd's MaxStartups there",
    GapReason.SSH_PROTOCOL: "the node's sshd offers nothing that this client accepts; update it",
    GapReason.CONNECTION_LOST: "try again; read sshd's log on the node",
    GapReason.SUDO: "set ssh.sudo, and allow `wg show` without a password (docs/security.md)",
    GapReason.NO_WG: "install wireguard-tools on the node",
    GapReason.NO_DEVICE: "check mesh.device, `wg show` on the node, and ssh.wg_command",
    GapReason.COMMAND_TIMEOUT: "look at the node's load; raise ssh.command_timeout",
    GapReason.OUTPUT_TOO_LARGE: "find out what the node prints; raise ssh.max_output",
    GapReason.UNREADABLE_OUTPUT: "run `wg show DEVICE allowed-ips` there: something answers in wg's or ip's place",
    GapReason.WRONG_HOST: "correct ssh_host in the node's registration",
    GapReason.ROUTES_UNREAD: "run `ip route show table all` on the node, as the audit's user",
    GapReason.TRANSFER_UNREAD: "let sudo run `wg show DEVICE transfer` there (docs/security.md)",
    GapReason.NO_ANSWER: "look whether that server runs, at its firewall, and whether it takes TLS first",
    GapReason.ANSWER_REFUSED: "check the witness' port, and that the server runs at that address",
    GapReason.UNREADABLE_ANSWER: "check the witness' port, and what listens there",
    GapReason.FORWARDING_REFUSED: "install on the observer what `wgaudit probe-script` prints; see AllowTcpForwarding",
    GapReason.LOGINS_COUNTED: 'nothing; ask a witness of type "nats" there',
    GapReason.CUT_SHORT: "run it again, with a longer --deadline",
    GapReason.INTERNAL: "run `wgaudit --verbose …` and report what it says",
}

_FITTING: dict[GapReason, tuple[tuple[str, str], ...]] = {
    GapReason.CONSUL_TLS: (
        ("no TLS there", "write http:// in consul.url, or give it the agent's HTTPS port"),
        (
            "client certificate",
            "give consul.cert_file and consul.key_file that the agent's verify_incoming accepts",
        ),
        (
            "not trusted",
            "set consul.ca_file to the CA of the agent, and consul.url to a name in its certificate",
        ),
    ),
    GapReason.CONSUL_HTTP: (
        ("HTTP request to an HTTPS server", "write https:// in consul.url, and set consul.ca_file"),
        (
            "No path to datacenter",
            "correct the names in consul.datacenters; if they are right, look at the WAN",
        ),
        ("redirected to", "set consul.url to the address that it redirects to"),
        (": 404", "something other than Consul answers at consul.url, or it has a path too many"),
    ),
    GapReason.CONSUL_FORBIDDEN: (
        ("no token was sent", "set consul.token_file, or CONSUL_HTTP_TOKEN_FILE"),
        (
            "ACL not found",
            "Consul does not know this token: check consul.token_file, consul.token, CONSUL_HTTP_TOKEN",
        ),
        ("/v1/catalog/", "give the token node_prefix read (docs/security.md has the policy)"),
    ),
}
"""Advice in place of the reason's own, where the detail has these words."""


def advice(reason: GapReason, detail: str) -> str:
    """Advise in one line on a gap of this reason and detail."""
    for words, fitting in _FITTING.get(reason, ()):
        if words.lower() in detail.lower():
            return fitting
    return ADVICE[reason]
