"""Tests of auditor/documents/."""
