"""How a report becomes text: one file a format, each a function from report to text."""
