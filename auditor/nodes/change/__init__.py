"""PURE: changes of a node as values, the script that makes them there, and the parser of its answer."""
