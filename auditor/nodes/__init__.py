"""Nodes: the scripts that run on them, the framing of their answers, and the access over SSH."""
