"""The lab: real WireGuard meshes in network namespaces, with real sshd and a real Consul, to sweep for real."""
