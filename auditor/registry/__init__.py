"""Where registrations come from: Consul, or a file that `consul kv export` wrote."""
