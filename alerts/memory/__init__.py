"""What alerting remembers, in the state database: what stands, what was told, what waits, what is silenced."""
