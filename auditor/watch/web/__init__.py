"""Page of the watch: served on loopback, read-only."""
