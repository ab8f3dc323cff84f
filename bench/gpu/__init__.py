"""The acceptance of the CUDA renderer on a card: `parts` runs, `measures` measures. See bench/gpu_acceptance.py."""
