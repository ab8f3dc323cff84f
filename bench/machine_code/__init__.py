"""A kernel's real binary, carried out without a card.

    python -m bench.machine_code [RECIPE ...]

The renderer's own pipeline launches its own sm_90 binaries on a simulated multiprocessor: `program` reads a binary with
its control codes, `simulator` carries out every instruction for all 32 lanes on real data, in the cycle in which it can
issue, and `backend` makes that a `Backend` of the kernel pipeline. Every byte of the images is compared with the CPU
renderer's, and the cycles of each kernel are printed. They are predictions, and no card has confirmed them.
"""
