"""The parts of `bench/gpu_acceptance.py`: each measures one thing and returns plain data."""
