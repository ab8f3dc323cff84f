"""Benchmarks: interleaved timing, records with machine and versions, and one subject a file."""
