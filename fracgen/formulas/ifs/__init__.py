"""Iterated function systems: the code bank, how codes are sampled, and where they can be imported from."""
