"""Embedded fleet behind `wgaudit demo`."""
