"""Alerts: from a report to notifications, each sent once, and their delivery. See docs/alerts.md."""
