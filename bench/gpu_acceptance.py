"""Accept the CUDA renderer on a real card: bytes first, then cycles beside predictions, then speed.

    python bench/gpu_acceptance.py --parts first  [-o FILE]
    python bench/gpu_acceptance.py --parts second [-o FILE]

The first call takes at most five minutes, the second at most four. Every part is a process of its own, and its results
are in FILE (and, as a table, beside it) before the next one begins. A call whose FILE is there continues it: parts that
have succeeded are not repeated. Exit code 1 where a byte differs or a part has no result. Needs no installed fracgen,
but the packages that `fracgen bench` needs, with CuPy.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from bench.gpu.parts import main

    sys.exit(main(sys.argv[1:], __doc__))
