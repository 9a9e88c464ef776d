"""Collectors elsewhere, asked over NATS. Loaded only where collectors are configured; the only importer of `nats`."""
