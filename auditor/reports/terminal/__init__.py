"""Reports for a person at a terminal: the table, a story, a plan, and the page that they are written on."""
