"""A cycle model of the kernels: what they should cost on a Hopper card, without one.

    python -m bench.model

The renderer's own pipeline launches its own binaries (NVRTC, sm_90) on a simulated multiprocessor:
`disassembly` reads a binary with its control codes, `simulator` carries out every instruction for all 32
lanes on real data, when the clock of `machine` says that it can issue, and `backend` makes that a `Backend`
of the kernel pipeline. So trip counts, branches, addresses and collisions are those of real pictures; nothing
knows which kernels there are, and a changed or new one needs no change here unless it brings an
instruction that the simulator has not met. The pictures that come out are the CPU renderer's, byte for
byte (`--verify`), which also says that the compiler kept to the arithmetic that was written.

`worker` simulates a recipe in a process that imports fracgen from any source tree (`tree`), `predict`
makes rates of cycles, `table` and `document` write them down.
"""
