"""Benchmarks: what wgaudit costs, against the tools people would use instead and against smaller fleets."""
