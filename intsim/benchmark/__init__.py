"""Honest timing: competitors take turns in one process, with the same threads on the same input."""
