"""Weights and the networks they belong to."""
