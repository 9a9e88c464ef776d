"""What the configuration says, one file a section; file.py finds, reads and checks it."""
