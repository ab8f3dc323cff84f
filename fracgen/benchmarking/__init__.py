"""The benchmarks of `fracgen bench`, with interleaved timing and records as JSON."""
