"""Grids of cells: what is to be run, running it, and what came out."""
