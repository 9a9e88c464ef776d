"""Use cases of commands and daemon: async, printing nothing, raising the errors of errors.py."""
