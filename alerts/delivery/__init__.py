"""Delivery of what the outbox holds."""
