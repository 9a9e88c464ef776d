"""PURE: the witnesses side by side: registry, devices and route tables of one fleet."""
