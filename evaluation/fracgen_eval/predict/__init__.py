"""Judges one's own pictures: `run.py` is the whole of it, from options to a page."""
