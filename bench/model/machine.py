"""What a Hopper multiprocessor is taken to be: its units, rates and latencies, and two cards made of it.

Nothing here was measured by this project. Where a number comes from:

- 128 float lanes, 64 integer lanes, 16 special function lanes and 32 load-store lanes a multiprocessor,
  split over four schedulers that issue one warp instruction a cycle each: the CUDA programming guide's
  table of arithmetic throughput for compute capability 9.0. So a scheduler's integer pipe takes a warp
  every two cycles; float instructions have two such pipes, of which one also multiplies integers.
- Latencies: the microbenchmark studies of Hopper by Luo et al. (arXiv 2402.13499, 2501.12084), rounded;
  they matter only where few warps are resident.
- How shared memory serves wide loads and colliding atomics: assumed, see `ASSUMPTIONS`;
  `bench/gpu/microbenchmarks.cu` settles it on a card.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, fields

PIPES = ("none", "integer", "float", "float heavy", "load-store", "special", "uniform", "control")
"""Units as the simulator numbers them. "float" instructions run on either float pipe, "float heavy" ones
(integer products) only on the one that has a multiplier for them."""

_INTEGER = (
    "IADD3 VIADD IADD LEA LOP3 PLOP3 SHF PRMT ISETP FSETP SEL FSEL FMNMX VIMNMX IMNMX VIMNMX3 VIADDMNMX IABS MOV "
    "I2FP P2R R2P VOTE F2FP R2UR"
)
_FLOAT = "FADD FMUL FFMA HADD2 HMUL2 HFMA2"
_HEAVY = "IMAD IDP"
_SPECIAL = "MUFU I2F F2I POPC FLO BREV FCHK REDUX S2R"
_LOAD_STORE = "LDS STS ATOMS LDG STG REDG ATOMG RED ATOM SHFL"
_CONTROL = "BRA BRX BSSY BSYNC BREAK WARPSYNC BAR EXIT CALL RET"
_NONE = "NOP LDC CS2R S2UR B2R ERRBAR CCTL MEMBAR FENCE DEPBAR YIELD ENDCOLLECTIVE"

UNIT_OF: dict[str, int] = {
    code: unit
    for unit, codes in enumerate((_NONE, _INTEGER, _FLOAT, _HEAVY, _LOAD_STORE, _SPECIAL, "", _CONTROL))
    for code in codes.split()
}
CODES = tuple(sorted(UNIT_OF))
"""Instructions that the simulator knows. Uniform ones (UIADD3) go by the name without the U."""

_MODIFIERS = (
    "U8 S8 U16 S16 U32 S32 U64 S64 8 16 32 64 128 HI X EX WIDE L R W SX32 LT EQ LE GT NE GE NUM LTU EQU LEU GTU NEU "
    "GEU NAN AND OR XOR FTZ SAT RZ RM RP F32 BF16 RCP RSQ SQRT EX2 LG2 SIN COS TRUNC FLOOR CEIL RELU U16X2 S16X2 "
    "ADD MAX MIN EXCH CAS POPC SUM ALL UP DOWN BFLY RED SH 4A DIV"
)
MODIFIERS = tuple(_MODIFIERS.split())
"""Modifiers that decide what an instruction does; all others are dropped."""

SPECIAL_REGISTERS = ("TID_X", "CTAID_X", "CTAID_Y", "LANEID", "LTMASK", "CLOCKLO", "ZERO")


def busy(code: str, modifiers: set[str]) -> int:
    """Cycles that a warp instruction takes its unit of one scheduler for."""
    unit = PIPES[UNIT_OF[code]]
    if unit == "special":
        return 8
    if code == "IMAD" and modifiers & {"WIDE", "HI"}:
        return 4
    return 0 if unit in ("none", "control") else 2


def latency(code: str) -> int:
    """Cycles from service to the release of what waits for the result; for global memory less the memory's own."""
    return {"LDS": 21, "ATOMS": 21, "SHFL": 16, "LDC": 25, "S2UR": 25, "STG": 10, "LDG": 6}.get(code, 20)


@dataclass(frozen=True, kw_only=True)
class Multiprocessor:
    """Numbers of the simulated multiprocessor. Cycles unless it says otherwise."""

    branch_cycles: int = 12
    """From a taken branch to the next instruction of the warp."""
    barrier_cycles: int = 10
    """From the last warp's arrival at a barrier to the first instruction after it."""
    queue_length: int = 8
    """Instructions a scheduler may have waiting for the load-store unit."""
    issue_interval: int = 2
    """Between two instructions of one scheduler to the load-store unit."""
    operand_cycles: int = 4
    """Until an instruction has read its registers."""
    cache_latency: int = 30
    l2_latency: int = 240
    memory_latency: int = 500
    merge_wide_loads: int = 0
    """1: the lanes of a 64 or 128-bit access to shared memory are served together where their words
    lie in distinct banks or are the same; 0: halves or quarters of a warp one after another."""
    merge_equal_atomics: int = 0
    """1: atomics of one warp on the same word cost one pass together."""
    sector_cycles: float = 32 / 24
    """A 32-byte sector between L2 and a multiprocessor, all of them busy: 24 bytes a cycle."""
    global_atomic_cycles: float = 1.5
    """The same for a reduction in L2: some 90 a cycle for the whole device."""


@dataclass(frozen=True)
class Card:
    """A card made of such multiprocessors."""

    name: str
    memory_bytes_per_s: float
    multiprocessors: int = 132
    clock_hz: float = 1.83e9
    """What cards hold under load, below the boost clock of 1.98 GHz."""

    @property
    def memory_bytes_per_cycle(self) -> float:
        """Device memory's share of one multiprocessor; 92 % of the datasheet's rate is reached by copies."""
        return 0.92 * self.memory_bytes_per_s / self.clock_hz / self.multiprocessors


CARDS = (Card("H100", 3.35e12), Card("H200", 4.8e12))

# Limits of a multiprocessor of compute capability 9.0.
MAX_WARPS, MAX_BLOCKS, REGISTERS, SHARED_BYTES, SHARED_RESERVE = 64, 32, 65_536, 228 * 1024, 1024
CACHE_AND_SHARED_BYTES = 256 * 1024

ASSUMPTIONS = (
    "A 64 or 128-bit access to shared memory is served by halves or quarters of a warp: 2 or 4 passes at least, "
    "although eight rows of 16 bytes would fit the 32 banks at once.",
    "Shared-memory atomics cost one pass for every lane that meets another in its bank, equal words included.",
    "One pass a cycle through the load-store unit; instructions are in its caches; a taken branch costs 12 cycles.",
    "Every block of a stage runs beside blocks of the same stage: launches do not overlap, and have no gaps.",
    "Between stages pictures pass through device memory: what a stage touches is read and written once.",
    "1.83 GHz under load, 132 multiprocessors; device memory at 92 % of its datasheet.",
)


class MachineStruct(ctypes.Structure):
    """`Machine` of program.hpp."""

    _fields_ = [
        (f.name, ctypes.c_double if f.type == "float" else ctypes.c_uint32) for f in fields(Multiprocessor)
    ]  # fmt: skip

    @classmethod
    def of(cls, machine: Multiprocessor) -> MachineStruct:
        return cls(*(getattr(machine, f.name) for f in fields(Multiprocessor)))


def resident_blocks(threads: int, registers: int, shared_bytes: int) -> int:
    """Blocks of a kernel that one multiprocessor holds at a time.

    Registers are given out in units of 256 a warp, to warps of a scheduler's quarter of the file.
    """
    warps = -(-threads // 32)
    per_warp = -(-max(registers, 1) * 32 // 256) * 256
    by_registers = REGISTERS // 4 // per_warp * 4 // warps
    by_shared = SHARED_BYTES // (-(-shared_bytes // 128) * 128 + SHARED_RESERVE)
    return max(1, min(MAX_BLOCKS, MAX_WARPS // warps, by_registers, by_shared))
