"""Mandelbulb variations: solids of which each class is a power and a rule."""
