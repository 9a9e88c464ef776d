"""From a report to people: what to tell whom, once, and how it gets there. See docs/alerts.md."""
