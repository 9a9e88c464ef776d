"""What wgaudit costs, measured against what people would use instead and against its own smaller self."""
