"""PURE: what may be asked for (an address, a node, a key), and what is told of it."""
