"""PURE: the values that everything else speaks in: addresses, keys, registrations, observations, findings, text."""
