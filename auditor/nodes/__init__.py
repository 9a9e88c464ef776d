"""How nodes are asked for their live state: what runs on them, and the way there."""
