"""PURE: the witnesses side by side: what registry, devices and route tables say of one fleet."""
