"""Tests of auditor.disk."""
