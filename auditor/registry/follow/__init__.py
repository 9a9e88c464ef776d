"""Registry that tells of changes when they are written: Consul by waiting queries, or a file that is looked at."""
