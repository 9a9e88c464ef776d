"""wgaudit: find duplicate mesh addresses across a WireGuard fleet. See docs/architecture.md."""
