"""The ways to people: one file a vendor, `payload()` apart from sending."""
