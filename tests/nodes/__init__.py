"""Tests of auditor.nodes."""
