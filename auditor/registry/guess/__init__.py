"""Guessing at an unknown registry: `survey.py` reads a bounded part of it, the rest is pure."""
