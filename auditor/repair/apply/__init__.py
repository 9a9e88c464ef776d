"""Carry a plan out: one step at a time, journaled before, checked after, with a way back."""
