"""PURE: what runs on a node to look at it, and how its answer is read."""
