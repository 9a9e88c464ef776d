"""Checks of the audit: one file a check, each a pure function from fleet to findings."""
