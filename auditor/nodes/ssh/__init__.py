"""Nodes over SSH; the only place, beside the demo's servers, that knows the SSH library."""

from auditor.nodes.ssh.access import SshAccess
from auditor.nodes.ssh.changer import SshChanger
from auditor.nodes.ssh.nodes import SshNodes

__all__ = ["SshAccess", "SshChanger", "SshNodes"]
