"""PURE: the script that looks at a node, and the parser of its answer."""
