"""The embedded fleet behind `wgaudit demo`."""
