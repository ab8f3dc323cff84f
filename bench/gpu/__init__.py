"""The acceptance of the CUDA renderer on a card: `parts` runs, `measures` measures."""
