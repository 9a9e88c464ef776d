"""The watch: registry and nodes followed, judged when something changed, told at once, shown on a page."""
