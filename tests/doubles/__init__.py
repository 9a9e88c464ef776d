"""Servers that stand in for vendors: real HTTP on loopback, refusing what the vendors' published rules refuse."""
