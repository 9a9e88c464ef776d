"""Addresses that nobody can be given twice: claims in Consul, the allocator, adoption."""
