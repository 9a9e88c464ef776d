"""Gathering of one sweep: registry and nodes into a snapshot, at a pace, with a second look at suspects."""
