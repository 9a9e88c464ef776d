"""PURE: explanation of a target: an address, a node or a key."""
