"""What `fracgen bench` runs: interleaved timing, records as JSON, and what is timed."""
