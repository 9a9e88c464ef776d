"""Idents of all checks, and references to their findings: the only place that spells them.

`CheckIdent` stands in auditor/values, which everything sees, and has no members; `Ident` gives it those of the
checks. A reference is made by the function of its check, which takes the values that identify one of its findings:
a misspelt check is no attribute of this module, and an identity of the wrong kind does not pass the type checker.
"""

from __future__ import annotations

from auditor.values.addresses import Prefix, PublicKey, format_prefix
from auditor.values.findings import CheckIdent, Identity, Reference
from auditor.values.models import NodeId


class Ident(CheckIdent):
    """Ident of a check: kebab-case, its anchor in docs/findings.md; it never changes once released."""

    ADDRESS_DRIFT = "address-drift"
    ANSWERED_BY_OTHER = "answered-by-other"
    DEVICE_DOWN = "device-down"
    DISPLACED_ALLOWED_IPS = "displaced-allowed-ips"
    DUPLICATE_ADDRESS = "duplicate-address"
    DUPLICATE_NODE_NAME = "duplicate-node-name"
    DUPLICATE_PUBLIC_KEY = "duplicate-public-key"
    FALLBACK_ADDRESS = "fallback-address"
    INVALID_REGISTRATION = "invalid-registration"
    KEY_DRIFT = "key-drift"
    MISSING_PEER = "missing-peer"
    ONE_WAY_PEER = "one-way-peer"
    OUTSIDE_POOL = "outside-pool"
    OVERLAPPING_ALLOWED_IPS = "overlapping-allowed-ips"
    REGION_MISMATCH = "region-mismatch"
    REGISTRATION_VANISHED = "registration-vanished"
    RETIRED_BUT_LIVE = "retired-but-live"
    SEVERAL_ENDPOINTS = "several-endpoints"
    SELF_ROUTED_ADDRESS = "self-routed-address"
    SHADOWED_ADDRESSES = "shadowed-addresses"
    SPLIT_ROUTING = "split-routing"
    UNREGISTERED_ALLOWED_IPS = "unregistered-allowed-ips"
    UNREGISTERED_PEER = "unregistered-peer"
    UNSETTLED_REGISTRATION = "unsettled-registration"
    WRONG_HOST = "wrong-host"


def by_address(prefix: Prefix) -> Identity:
    """Identity of a finding about one prefix."""
    return (format_prefix(prefix),)


def by_node(node: NodeId) -> Identity:
    """Identity of a finding about one node, unique across datacenters."""
    return (str(node),)


def by_answers_of_node(node: NodeId) -> Identity:
    """Identity of a finding about what one node's own server says of itself."""
    return (ANSWERS_OF, str(node))


ANSWERS_OF = "answers of"
"""Begin of the identity of a finding about what a node's own server says of itself."""


def by_key(key: PublicKey) -> Identity:
    """Identity of a finding about one public key."""
    return (key,)


PEER_LIST = "peers of"
"""Begin of the identity of a finding about a node's whole peer list."""


def by_peer_list(node: NodeId) -> Identity:
    """Identity of a finding about one node's whole peer list."""
    return (PEER_LIST, str(node))


def by_address_of_node(prefix: Prefix, node: NodeId) -> Identity:
    """Identity of a finding about one prefix of one node."""
    return (format_prefix(prefix), str(node))


def by_route(prefix: Prefix, target: str) -> Identity:
    """Identity of a finding about a route of nodes: its prefix with its length, and the device that it leads to.

    target: the kind of the route where it leads to no device.
    """
    return (prefix, target)


def by_pair(first: NodeId, second: NodeId) -> Identity:
    """Identity of a finding about two nodes, in their order."""
    return (str(first), str(second))


def by_prefix_of_key(prefix: Prefix, key: PublicKey) -> Identity:
    """Identity of a finding about one prefix of one key, the prefix with its length."""
    return (prefix, key)


def duplicate_address(prefix: Prefix) -> Reference:
    """Reference to the finding that two or more nodes claim the prefix."""
    return Reference(Ident.DUPLICATE_ADDRESS, by_address(prefix))


def split_routing(prefix: Prefix) -> Reference:
    """Reference to the finding that observers send the prefix to different keys."""
    return Reference(Ident.SPLIT_ROUTING, by_address(prefix))


def answered_by_other(prefix: Prefix) -> Reference:
    """Reference to the finding that others than the registered node answer at the address."""
    return Reference(Ident.ANSWERED_BY_OTHER, by_address(prefix))


def region_mismatch(node: NodeId) -> Reference:
    """Reference to the finding that the node's own server names another region than its other sources."""
    return Reference(Ident.REGION_MISMATCH, by_answers_of_node(node))


def duplicate_public_key(key: PublicKey) -> Reference:
    """Reference to the finding that two or more nodes have the key."""
    return Reference(Ident.DUPLICATE_PUBLIC_KEY, by_key(key))


def wrong_host(node: NodeId) -> Reference:
    """Reference to the finding that another server answered in the node's place."""
    return Reference(Ident.WRONG_HOST, by_node(node))


def key_drift(node: NodeId) -> Reference:
    """Reference to the finding that the node's device has another key than its registration."""
    return Reference(Ident.KEY_DRIFT, by_node(node))


def device_down(node: NodeId) -> Reference:
    """Reference to the finding that the link of the node's device is down."""
    return Reference(Ident.DEVICE_DOWN, by_node(node))


def retired_but_live(node: NodeId) -> Reference:
    """Reference to the finding that the node is retired and its key is live."""
    return Reference(Ident.RETIRED_BUT_LIVE, by_node(node))


def registration_vanished(node: NodeId) -> Reference:
    """Reference to the finding that the node's registration vanished and its key is live."""
    return Reference(Ident.REGISTRATION_VANISHED, by_node(node))


def address_drift(node: NodeId) -> Reference:
    """Reference to the finding that the node's device has other addresses than its registration."""
    return Reference(Ident.ADDRESS_DRIFT, by_node(node))


def displaced_allowed_ips(prefix: Prefix, node: NodeId) -> Reference:
    """Reference to the finding that observers have the node as a peer without the prefix."""
    return Reference(Ident.DISPLACED_ALLOWED_IPS, by_address_of_node(prefix, node))


def overlapping_allowed_ips(prefix: Prefix, key: PublicKey) -> Reference:
    """Reference to the finding that the key's prefix covers prefixes of other keys."""
    return Reference(Ident.OVERLAPPING_ALLOWED_IPS, by_prefix_of_key(prefix, key))


def unregistered_peer(key: PublicKey) -> Reference:
    """Reference to the finding that observers have a peer with the key, which no registration knows."""
    return Reference(Ident.UNREGISTERED_PEER, by_key(key))


def several_endpoints(key: PublicKey) -> Reference:
    """Reference to the finding that the key is met at several outer hosts at once."""
    return Reference(Ident.SEVERAL_ENDPOINTS, by_key(key))


def unregistered_allowed_ips(prefix: Prefix, key: PublicKey) -> Reference:
    """Reference to the finding that observers give the key a prefix that nobody registered."""
    return Reference(Ident.UNREGISTERED_ALLOWED_IPS, by_prefix_of_key(prefix, key))
