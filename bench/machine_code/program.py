"""A kernel's binary as the simulator reads it: instructions with their operands and control codes.

`nvdisasm` decodes the instructions; Triton's wheel, which torch brings, has it. The rest is in the sections of the
binary's ELF file. The control code of an instruction is in bits 41 to 57 of its second word: stall (4 bits), yield (1),
write barrier (3), read barrier (3) and wait mask (6).
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNITS = {
    "none": "NOP LDC S2UR CS2R B2R YIELD ENDCOLLECTIVE",
    "integer": "IADD3 VIADD LEA LOP3 PLOP3 SHF PRMT ISETP FSETP SEL FSEL FMNMX VIMNMX VIMNMX3 VIADDMNMX IABS MOV I2FP "
    "P2R R2P VOTE R2UR",
    "float": "FADD FMUL FFMA HFMA2",
    "product": "IMAD IDP",
    "load_store": "LDS STS ATOMS LDG STG REDG SHFL",
    "special": "MUFU I2F F2I POPC FLO FCHK REDUX S2R",
    "uniform": "",
    "control": "BRA BRX BSSY BSYNC BREAK WARPSYNC BAR EXIT CALL RET",
}
"""Instructions that the simulator knows, by the unit of a scheduler that carries them out. There are two units for
floats, of which one also multiplies integers. Uniform instructions (UIADD3) go by the name without the U."""
UNIT_OF = {code: number for number, codes in enumerate(UNITS.values()) for code in codes.split()}
CODES = tuple(sorted(UNIT_OF))
MODIFIERS = (
    "U8 U16 U32 U64 S32 S64 64 128 HI X EX WIDE L W SX32 LT EQ LE GT NE GE LTU EQU LEU GTU NEU GEU OR XOR FTZ RZ RM RP "
    "RCP RSQ TRUNC RELU U16X2 ADD MAX ALL BFLY RED DIV"
).split()
"""Modifiers that decide what an instruction does."""
IGNORED = (
    "AND ANY R E LUT LO LU MOV IADD SHL IDX NTZ F32 MMA STRONG GPU SYNC DEFER_BLOCKING RESULT REL NOINC NODEC "
    "COLLECTIVE 2A"
).split()
"""Modifiers that say what is the default here."""
SPECIAL_REGISTERS = ("TID_X", "CTAID_X", "CTAID_Y", "LANEID", "LTMASK", "CGACTAID", "Z")

KINDS = NONE, REGISTER, UNIFORM, IMMEDIATE, CONSTANT, ADDRESS = range(6)
FLAGS = NEGATED, ABSOLUTE, INVERTED, FLOAT_SIGN, WIDE = tuple(1 << k for k in range(5))
NO_REGISTER, TRUE, NOT, FROM_UNIFORM = 255, 7, 8, 16

OPERAND = np.dtype([("kind", "u1"), ("index", "u1"), ("flags", "u1"), ("second", "u1"), ("value", "<u4")])
INSTRUCTION = np.dtype(
    [
        ("modifiers", "<u8"), ("target", OPERAND), ("source", OPERAND, 4), ("code", "<u2"), ("latency", "<u2"),
        ("predicate_target", "u1", 2), ("predicate_source", "u1", 3), ("guard", "u1"), ("stall", "u1"),
        ("write_barrier", "u1"), ("read_barrier", "u1"), ("wait", "u1"), ("unit", "u1"), ("busy", "u1"), ("jump", "<i4"),
    ],
    align=True,
)  # fmt: skip

_FLOATS = {"FADD", "FMUL", "FFMA", "FSEL", "FSETP", "FMNMX", "FCHK", "MUFU", "F2I"}
_WITHOUT_TARGET = {"ISETP", "FSETP", "PLOP3", "FCHK", "STS", "STG", "REDG", "R2P"}
_PREDICATE = re.compile(r"(!?)(U?)P([0-6T])")
_REGISTER = re.compile(r"([-~|]*)(U?)R(\d+|Z)\|?")
_CONSTANT = re.compile(r"([-~|]*)c\[(0x\w+)\]\[(?:R(\d+))?\+?(-?0x\w+)?\]\|?")
_ADDRESS = re.compile(r"(?:desc\[UR\d+\])?\[(?:R(\d+|Z)(\.64)?)?\+?(?:UR(\d+))?\+?(-?0x\w+)?\]")


class UnknownInstructionError(ValueError):
    """The simulator has no meaning for an instruction."""


class Operand(NamedTuple):
    """`Operand` of program.hpp."""

    kind: int
    index: int = NO_REGISTER
    flags: int = 0
    second: int = NO_REGISTER
    value: int = 0


@dataclass(frozen=True)
class Program:
    """A kernel, decoded.

    Args:
        name: of the kernel.
        code: `INSTRUCTION` [n].
        text: of each instruction.
        registers: of a thread.
        shared_bytes: static shared memory, and the kilobyte that the system keeps.
        banks: number of a constant bank -> its bytes: 2 holds tables of jumps, 3 constant arrays.
    """

    name: str
    code: NDArray[np.void]
    text: list[str]
    registers: int
    shared_bytes: int
    banks: dict[int, bytes]

    @classmethod
    def read(cls, binary: bytes, name: str) -> Program:
        """Decode a kernel of a cubin.

        Raises:
            UnknownInstructionError: it holds an instruction that the simulator has no meaning for.
            FileNotFoundError: there is no nvdisasm.
        """
        sections = {own: place for own, *place in _sections(binary)}
        start, length = sections[f".text.{name}"]
        words = np.frombuffer(binary, "<u8", length // 8, start).reshape(-1, 2)
        code, text = _decoded(_disassembled(binary))
        control = words[: len(code), 1] >> np.uint64(41)
        for field, bits, shift in (("stall", 4, 0), ("write_barrier", 3, 5), ("read_barrier", 3, 8), ("wait", 6, 11)):
            code[field] = control >> np.uint64(shift) & np.uint64((1 << bits) - 1)
        start, length = sections[".nv.info"]
        info = binary[start : start + length]
        (registers,) = struct.unpack_from("<I", info, info.index(b"\x04\x2f\x08\x00") + 8)  # EIATTR_REGCOUNT
        banks = {}
        for own, (start, length) in sections.items():
            if bank := re.fullmatch(rf"\.nv\.constant([1-9])(?:\.{re.escape(name)})?", own):
                banks[int(bank[1])] = binary[start : start + length]
        _, shared = sections.get(f".nv.shared.{name}", (0, SYSTEM_SHARED_BYTES))
        return cls(name, code, text, registers, shared, banks)


SYSTEM_SHARED_BYTES = 1024
"""What the system keeps at the start of a block's shared memory; static arrays follow."""


def find_nvdisasm() -> str:
    """Path of nvdisasm: inside Triton's wheel, else on the search path.

    Raises:
        FileNotFoundError: neither has it.
    """
    spec = importlib.util.find_spec("triton")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        tool = Path(folder) / "backends" / "nvidia" / "bin" / "nvdisasm"
        if tool.is_file():
            return str(tool)
    if path := shutil.which("nvdisasm"):
        return path
    raise FileNotFoundError("nvdisasm is neither in Triton's wheel nor on PATH: install triton or the CUDA toolkit")


def _disassembled(binary: bytes) -> list[dict[str, object]]:
    """nvdisasm's functions, in the order of their addresses."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        done = subprocess.run([find_nvdisasm(), "-json", file.name], capture_output=True, check=True)
    functions: list[dict[str, object]] = json.loads(done.stdout)[1]
    return sorted(functions, key=lambda function: int(str(function["start"])))


def _sections(binary: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, offset and length of each section of an ELF file."""
    (table,) = struct.unpack_from("<Q", binary, 0x28)
    size, count, names = struct.unpack_from("<HHH", binary, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", binary, table + k * size) for k in range(count)]
    for at, _, _, _, offset, length in sections:
        start = sections[names][4] + at
        yield binary[start : binary.index(b"\0", start)].decode(), offset, length


def _decoded(functions: list[dict[str, object]]) -> tuple[NDArray[np.void], list[str]]:
    starts = {str(f["function-name"]): int(str(f["start"])) for f in functions}
    lines = [line for f in functions for line in f["sass-instructions"]]  # type: ignore[attr-defined]
    code = np.zeros(len(lines), INSTRUCTION)
    text = [" ".join(filter(None, (x.get("predicate"), x["opcode"], x.get("operands")))) for x in lines]
    for number, (row, line) in enumerate(zip(code, lines, strict=True)):
        try:
            _decode(row, number, line, starts)
        except (ValueError, IndexError, KeyError) as error:
            raise UnknownInstructionError(f"no meaning for {text[number]!r} in bench/machine_code: {error}") from None
    return code, text


def _decode(row: np.void, number: int, line: dict[str, str], starts: dict[str, int]) -> None:
    name, *modifiers = line["opcode"].upper().split(".")
    uniform = name not in UNIT_OF and name != "VOTEU" and name.startswith("U")
    code = name[1:] if uniform else "VOTE" if name == "VOTEU" else name
    row["code"] = CODES.index(code)
    for modifier in modifiers:
        if modifier not in IGNORED:
            row["modifiers"] |= np.uint64(1 << MODIFIERS.index(modifier))
    unit = UNIT_OF[code]
    # ULDC and LDC go the same way.
    row["unit"] = list(UNITS).index("uniform") if (uniform or name == "VOTEU") and code != "LDC" else unit
    row["busy"], row["latency"] = _busy(code, modifiers), _LATENCY.get(code, 20)
    row["predicate_target"] = row["guard"] = TRUE
    row["predicate_source"] = TRUE | NOT if "X" in modifiers else TRUE  # a carry that is not named is none
    row["target"]["index"] = NO_REGISTER
    if (guard := line.get("predicate", "")).startswith("@"):
        row["guard"] = _predicate(guard[1:])
    listed = re.sub(r"(R[\dZ]+)\[", r"\1,[", line.get("operands", "").replace(".reuse", ""))  # R1[R2] is two of them
    operands = [part.strip() for part in listed.split(",") if part.strip()]
    _operands(row, code, [o for o in operands if o != "PR"], starts)
    if code == "BRX":  # its offset counts from the next instruction
        row["source"][1]["value"] += 16 * (number + 1)


def _operands(row: np.void, code: str, operands: list[str], starts: dict[str, int]) -> None:
    """Predicate targets, target, more predicate targets, sources, predicate sources: in that order."""
    control = code in UNITS["control"].split()
    target_follows = not control and code not in _WITHOUT_TARGET
    most = 0 if control else 1 if code == "VOTE" else 2
    sources, targets, conditions = [], [], []
    for text in operands:
        if _PREDICATE.fullmatch(text):
            (targets if not sources and len(targets) < most and not text.startswith("!") else conditions).append(text)
        elif target_follows:
            row["target"], target_follows = _operand(text, code, starts), False
        else:
            sources.append(_operand(text, code, starts))
    if code == "HFMA2":  # only ever moves two constant halves: -0 * 0 + c
        if operands[1:3] != ["-RZ", "RZ"]:
            raise ValueError("packed halves are not computed")
        high, low = (int(np.float16(float(text)).view(np.uint16)) for text in operands[3:])
        sources = [Operand(IMMEDIATE, value=high << 16 | low)]
    if code == "LEA" and len(sources) == 3:  # the shift is the last
        sources.insert(2, Operand(NONE))
    if code in ("BRA", "CALL", "BSSY"):
        row["jump"] = sources[-1].value // 16
    row["source"][: len(sources)] = sources
    row["predicate_target"][: len(targets)] = [_predicate(text) for text in targets]
    row["predicate_source"][: len(conditions)] = [_predicate(text) for text in conditions]


_LATENCY = {"LDS": 21, "ATOMS": 21, "SHFL": 16, "LDC": 25, "S2UR": 25, "STG": 10, "LDG": 6}
"""Cycles from service until what waits for the result is released, 20 for others; without the memory's own."""


def _busy(code: str, modifiers: list[str]) -> int:
    """Cycles for which a warp's instruction takes its unit."""
    if code in UNITS["special"].split():
        return 8
    if code == "IMAD" and {"WIDE", "HI"} & set(modifiers):
        return 4
    return 0 if code in UNITS["none"].split() + UNITS["control"].split() else 2


def _predicate(text: str) -> int:
    match = _PREDICATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text} is no predicate")
    return (TRUE if match[3] == "T" else int(match[3])) | (NOT if match[1] else 0) | (FROM_UNIFORM if match[2] else 0)


def _number(text: str | None) -> int:
    return NO_REGISTER if text in (None, "Z") else int(text)


def _signs(text: str, code: str) -> int:
    known = {"-": NEGATED, "~": INVERTED, "|": ABSOLUTE}
    return sum(known[sign] for sign in set(text)) | (FLOAT_SIGN if code in _FLOATS else 0)


def _operand(text: str, code: str, starts: dict[str, int]) -> Operand:
    """A register, an immediate number, a constant or an address in memory."""
    if match := _REGISTER.fullmatch(text):
        return Operand(UNIFORM if match[2] else REGISTER, _number(match[3]), _signs(match[1], code))
    if match := _CONSTANT.fullmatch(text):
        offset = int(match[4] or "0", 16) & 0xFFFFFFFF
        return Operand(CONSTANT, int(match[2], 16), _signs(match[1], code), _number(match[3]), offset)
    if match := _ADDRESS.fullmatch(text):
        flags, offset = WIDE if match[2] else 0, int(match[4] or "0", 16) & 0xFFFFFFFF
        return Operand(ADDRESS, _number(match[1]), flags, _number(match[3]), offset)
    if text in starts:
        return Operand(IMMEDIATE, value=starts[text])
    if match := re.fullmatch(r"(?:SR_?)([\w.]+)", text):
        return Operand(IMMEDIATE, value=SPECIAL_REGISTERS.index(match[1].replace(".", "_").upper()))
    if match := re.fullmatch(r"B(\d+)|(-?0x[0-9a-f]+)", text):
        return Operand(IMMEDIATE, value=int(match[1] or match[2], 10 if match[1] else 16) & 0xFFFFFFFF)
    number = float(text.upper().replace("QNAN", "NAN"))
    return Operand(IMMEDIATE, value=int(np.float32(number).view(np.uint32)))
