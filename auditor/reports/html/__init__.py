"""Report as one HTML page, with the split-brain picture."""
