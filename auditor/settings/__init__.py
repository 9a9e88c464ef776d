"""Settings of the configuration, one file a section; file.py finds, reads and checks it."""
