"""Sources of registrations: Consul, or a file that `consul kv export` wrote."""
