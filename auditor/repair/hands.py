"""What repair may do on a node: the words of `auditor.nodes.change.changes`, under the name that repair knows."""

from auditor.nodes.change.changes import (
    AddAddress,
    Change,
    ChangeFailed,
    DeviceState,
    DropAddress,
    Hands,
    RewriteFiles,
    SetPeer,
)

__all__ = [
    "AddAddress",
    "Change",
    "ChangeFailed",
    "DeviceState",
    "DropAddress",
    "Hands",
    "RewriteFiles",
    "SetPeer",
]
