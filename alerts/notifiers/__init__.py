"""Notifiers: one file a vendor, `payload()` apart from sending."""
