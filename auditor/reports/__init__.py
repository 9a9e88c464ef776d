"""Formats of a report: one file a format, each a function from report to text."""
