"""Mandelbulb variations on the CPU: rays in SIMD lanes."""
