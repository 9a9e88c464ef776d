"""PURE: values shared by all rooms: addresses, keys, registrations, observations, findings, text."""
