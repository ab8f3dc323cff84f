"""Accept the CUDA renderer on a real card: bytes first, then cycles beside the model's, then speed.

    python bench/gpu_acceptance.py --parts first  [--out bench/results]
    python bench/gpu_acceptance.py --parts second [--out bench/results]
    python bench/gpu_acceptance.py --join bench/results/gpu-*.json

Two calls of at most eight minutes each, what decides most first; every result is written as it comes. Needs
torch, CuPy, NumPy and Numba, not an installed fracgen. A call writes a JSON file and a Markdown table, named
by date, device and call, and exits with 1 where a byte differs or a part failed. Ceilings are measured on
the card, not taken from a datasheet; the cycle model's predictions (bench/gpu/predicted.json, written by
`python -m bench.model --write`) stand beside what was measured.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from bench.gpu.acceptance import main

    sys.exit(main(description=__doc__))
