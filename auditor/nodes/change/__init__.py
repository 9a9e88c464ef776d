"""PURE: what may be changed on a node, what runs there to change it, and how its answer is read."""
