"""From a snapshot to a plan: who keeps, who moves where; as a file, as text, as a shell script."""
