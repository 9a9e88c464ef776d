"""What a command or a daemon does, without a screen: async, printing nothing, raising the errors of errors.py."""
