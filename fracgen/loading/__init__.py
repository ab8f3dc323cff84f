"""Batches for training: the loader, a map-style dataset, and what prepares pixels for a network."""
