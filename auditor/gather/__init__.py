"""One sweep: registry and nodes gathered into a snapshot, at a pace, with a second look at suspects."""
