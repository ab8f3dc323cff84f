"""A kernel's binary as the simulator reads it: instructions with their operands and control codes.

`nvdisasm` decodes the instructions; Triton's wheel, which torch brings, has it. The rest is in the sections of the
binary's ELF file. The control code of an instruction is in bits 41 to 57 of its second word: stall (4 bits), yield (1),
write barrier (3), read barrier (3) and wait mask (6).
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

UNITS = {
    "NONE": "NOP LDC S2UR CS2R B2R YIELD ENDCOLLECTIVE",
    "INTEGER": "IADD3 VIADD LEA LOP3 PLOP3 SHF PRMT ISETP FSETP SEL FSEL FMNMX VIMNMX VIMNMX3 VIADDMNMX IABS MOV I2FP "
    "P2R R2P VOTE R2UR",
    "FLOAT": "FADD FMUL FFMA HFMA2",
    "PRODUCT": "IMAD IDP",
    "LOAD_STORE": "LDS STS ATOMS LDG STG REDG SHFL",
    "SPECIAL": "MUFU I2F F2I POPC FLO FCHK REDUX S2R",
    "UNIFORM": "",
    "CONTROL": "BRA BRX BSSY BSYNC BREAK WARPSYNC BAR EXIT CALL RET",
}
"""Instructions that the simulator knows, by the unit of a scheduler that carries them out. There are two units for
floats, of which one also multiplies integers. Uniform instructions (UIADD3) go by the name without the U."""
UNIT_OF = {code: unit for unit, codes in UNITS.items() for code in codes.split()}
CODES = sorted(UNIT_OF)
_MODIFIERS = (
    "U8 U16 U32 U64 S32 S64 64 128 HI X EX WIDE L W SX32 LT EQ LE GT NE GE LTU EQU LEU GTU NEU GEU OR XOR FTZ RZ RM RP "
    "RCP RSQ TRUNC RELU U16X2 ADD MAX ALL BFLY RED DIV"
)
_IGNORED = (
    "AND ANY R E LUT LO LU MOV IADD SHL IDX NTZ F32 MMA STRONG GPU SYNC DEFER_BLOCKING RESULT REL NOINC NODEC "
    "COLLECTIVE 2A"
)
MODIFIERS = tuple(_MODIFIERS.split())
"""Modifiers that decide what an instruction does."""
IGNORED = tuple(_IGNORED.split())
"""Modifiers that name what is the default here."""
NEEDED = {"ATOMS": {"ADD", "MAX"}, "REDG": {"ADD", "MAX"}, "REDUX": {"MAX"}, "MUFU": {"RCP", "RSQ"}}
"""Instructions that only have a meaning with one of these modifiers."""
SPECIAL_REGISTERS = ("TID_X", "CTAID_X", "CTAID_Y", "LANEID", "LTMASK", "CGACTAID", "Z")
LATENCY = {"LDS": 21, "ATOMS": 21, "SHFL": 16, "LDC": 25, "S2UR": 25, "STG": 10, "LDG": 6}
"""Cycles from service until what waits for the result is released, 20 for others; without the memory's own."""

KINDS = ("NONE", "REGISTER", "UNIFORM", "IMMEDIATE", "CONSTANT", "ADDRESS")
NONE, REGISTER, UNIFORM, IMMEDIATE, CONSTANT, ADDRESS = range(6)
FLAGS = {"NEGATED": 1, "ABSOLUTE": 2, "INVERTED": 4, "FLOAT_SIGN": 8, "WIDE": 16, "NOT": 8, "FROM_UNIFORM": 16}
"""Of operands; the last two of predicates, of which number 7 is always true."""
SIGNS = {"-": FLAGS["NEGATED"], "~": FLAGS["INVERTED"], "|": FLAGS["ABSOLUTE"]}
NO_REGISTER, TRUE = 255, 7
FLOATS = {"FADD", "FMUL", "FFMA", "FSEL", "FSETP", "FMNMX", "FCHK", "MUFU", "F2I"}
WITHOUT_TARGET = {"ISETP", "FSETP", "PLOP3", "FCHK", "STS", "STG", "REDG", "R2P", *UNITS["CONTROL"].split()}
SYSTEM_SHARED_BYTES = 1024
"""What the system keeps at the start of a block's shared memory; static arrays follow."""

OPERAND = np.dtype([("kind", "u1"), ("index", "u1"), ("flags", "u1"), ("second", "u1"), ("value", "<u4")])
INSTRUCTION = np.dtype(
    [
        ("modifiers", "<u8"), ("target", OPERAND), ("source", OPERAND, 4), ("code", "<u2"), ("latency", "<u2"),
        ("predicate_target", "u1", 2), ("predicate_source", "u1", 3), ("guard", "u1"), ("stall", "u1"),
        ("write_barrier", "u1"), ("read_barrier", "u1"), ("wait", "u1"), ("unit", "u1"), ("busy", "u1"),
        ("jump", "<i4"),
    ],
    align=True,
)  # fmt: skip

_PREDICATE = re.compile(r"(!?)(U?)P([0-6T])")
_REGISTER = re.compile(r"([-~|]*)(U?)R(\d+|Z)\|?")
_CONSTANT = re.compile(r"([-~|]*)c\[(0x\w+)\]\[(?:R(\d+))?\+?(-?0x\w+)?\]\|?")
_ADDRESS = re.compile(r"(?:desc\[UR\d+\])?\[(?:R(\d+|Z)(\.64)?)?\+?(?:UR(\d+))?\+?(-?0x\w+)?\]")


class UnknownInstructionError(ValueError):
    """The simulator has no meaning for an instruction."""


class Operand(NamedTuple):
    """`Operand` of program.hpp."""

    kind: int
    number: int = NO_REGISTER
    flags: int = 0
    second: int = NO_REGISTER
    value: int = 0


class Program(NamedTuple):
    """A kernel, decoded.

    Args:
        name: of the kernel.
        code: `INSTRUCTION` [n].
        text: of each instruction.
        registers: of a thread.
        shared_bytes: static shared memory, and what the system keeps.
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
        sections = dict(_sections(binary))
        code, text = decoded(_disassembled(binary))
        control = np.frombuffer(sections[f".text.{name}"], "<u8")[1::2][: len(code)] >> np.uint64(41)
        for field, bits, shift in (("stall", 4, 0), ("write_barrier", 3, 5), ("read_barrier", 3, 8), ("wait", 6, 11)):
            code[field] = control >> np.uint64(shift) & np.uint64((1 << bits) - 1)
        info = sections[".nv.info"]
        (registers,) = struct.unpack_from("<I", info, info.index(b"\x04\x2f\x08\x00") + 8)  # EIATTR_REGCOUNT
        shared = len(sections.get(f".nv.shared.{name}", bytes(SYSTEM_SHARED_BYTES)))
        banks = {n: sections.get(f".nv.constant{n}.{name}", sections.get(f".nv.constant{n}", b"")) for n in (2, 3)}
        return cls(name, code, text, registers, shared, banks)


class _Line(TypedDict, total=False):
    opcode: str
    operands: str
    predicate: str


_Function = TypedDict("_Function", {"function-name": str, "start": int, "sass-instructions": list[_Line]})


def find_nvdisasm() -> str:
    """Path of nvdisasm: inside Triton's wheel, else on the search path.

    Raises:
        FileNotFoundError: neither has it.
    """
    spec = importlib.util.find_spec("triton")
    places = (spec and spec.submodule_search_locations) or []
    folders = os.pathsep.join(f"{place}/backends/nvidia/bin" for place in places)
    if path := shutil.which("nvdisasm", path=folders) or shutil.which("nvdisasm"):
        return path
    raise FileNotFoundError("nvdisasm is neither in Triton's wheel nor on PATH: install triton or the CUDA toolkit")


def _disassembled(binary: bytes) -> list[_Function]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        done = subprocess.run([find_nvdisasm(), "-json", file.name], capture_output=True, check=True)
    functions: list[_Function] = json.loads(done.stdout)[1]
    return sorted(functions, key=lambda function: function["start"])


def _sections(binary: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and contents of each section of an ELF file; zeros where it only says how long one is."""
    (table,) = struct.unpack_from("<Q", binary, 0x28)
    size, count, names = struct.unpack_from("<HHH", binary, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", binary, table + k * size) for k in range(count)]
    for at, kind, _, _, offset, length in sections:
        start = sections[names][4] + at
        data = bytes(length) if kind == 8 else binary[offset : offset + length]
        yield binary[start : binary.index(b"\0", start)].decode(), data


def decoded(functions: list[_Function]) -> tuple[NDArray[np.void], list[str]]:
    """`INSTRUCTION` [n] without control codes, and the text of each, of nvdisasm's functions in order."""
    starts = {function["function-name"]: function["start"] for function in functions}
    lines = [line for function in functions for line in function["sass-instructions"]]
    code = np.zeros(len(lines), INSTRUCTION)
    text = [f"{x.get('predicate', '')} {x['opcode']} {x.get('operands', '')}".strip() for x in lines]
    for number, line in enumerate(lines):
        try:
            _decode(code[number], number, line, starts)
        except (ValueError, IndexError) as error:
            raise UnknownInstructionError(f"no meaning for {text[number]!r} in bench/machine_code: {error}") from None
    return code, text


def _decode(row: np.void, number: int, line: _Line, starts: dict[str, int]) -> None:
    name, *modifiers = line["opcode"].upper().split(".")
    uniform = name not in UNIT_OF and name.startswith("U")
    code = name[1:] if uniform else name.removesuffix("U") if name == "VOTEU" else name
    row["code"] = CODES.index(code)
    if code in NEEDED and not NEEDED[code] & set(modifiers):
        raise ValueError(f"one of {', '.join(sorted(NEEDED[code]))} is missing")
    for modifier in modifiers:
        row["modifiers"] |= np.uint64(0 if modifier in IGNORED else 1 << MODIFIERS.index(modifier))
    # ULDC goes the way of LDC.
    unit = "UNIFORM" if (uniform and code != "LDC") or name == "VOTEU" else UNIT_OF[code]
    row["unit"] = list(UNITS).index(unit)
    own = UNIT_OF[code]
    wide = code == "IMAD" and {"WIDE", "HI"} & set(modifiers)
    row["busy"] = 8 if own == "SPECIAL" else 0 if own in ("NONE", "CONTROL") else 4 if wide else 2
    row["latency"] = LATENCY.get(code, 20)
    row["predicate_target"] = row["guard"] = TRUE
    row["predicate_source"] = TRUE | FLAGS["NOT"] if "X" in modifiers else TRUE  # a carry that is not named is none
    row["target"]["index"] = NO_REGISTER
    if (guard := line.get("predicate", "")).startswith("@"):
        row["guard"] = _predicate(guard[1:])
    listed = re.sub(r"(R[\dZ]+)\[", r"\1,[", line.get("operands", "").replace(".reuse", ""))  # R1[R2] is two of them
    operands = [part.strip() for part in listed.split(",") if part.strip() not in ("", "PR")]
    sources = _distribute(row, code, operands, starts)
    if code in ("BRA", "CALL", "BSSY"):
        row["jump"] = sources[-1].value // 16
    if code == "BRX":  # its offset counts from the next instruction
        sources[1] = sources[1]._replace(value=sources[1].value + 16 * (number + 1) & 0xFFFFFFFF)
    for k, source in enumerate(sources):
        row["source"][k] = source


def _distribute(row: np.void, code: str, operands: list[str], starts: dict[str, int]) -> list[Operand]:
    """Sort out predicate targets, target, more predicate targets, sources, predicate sources, which come in that order.

    Returns:
        The sources, with the shift of LEA in the fourth place.
    """
    target_follows = code not in WITHOUT_TARGET
    most = 0 if code in UNITS["CONTROL"].split() else 1 if code == "VOTE" else 2
    sources: list[Operand] = []
    targets: list[int] = []
    conditions: list[int] = []
    for text in operands:
        if _PREDICATE.fullmatch(text):
            is_target = not sources and len(targets) < most and not text.startswith("!")
            (targets if is_target else conditions).append(_predicate(text))
        elif target_follows:
            row["target"] = tuple(_operand(text, code, starts))
            target_follows = False
        else:
            sources.append(_operand(text, code, starts))
    row["predicate_target"][: len(targets)], row["predicate_source"][: len(conditions)] = targets, conditions
    if code == "HFMA2":  # only ever moves two constant halves: -0 * 0 + c
        if operands[1:3] != ["-RZ", "RZ"]:
            raise ValueError("packed halves are not computed")
        high, low = (int(np.float16(float(text)).view(np.uint16)) for text in operands[3:])
        return [Operand(IMMEDIATE, value=high << 16 | low)]
    if code == "LEA" and len(sources) == 3:
        sources.insert(2, Operand(NONE))
    return sources


def _predicate(text: str) -> int:
    match = _PREDICATE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text} is no predicate")
    flags = (FLAGS["NOT"] if match[1] else 0) | (FLAGS["FROM_UNIFORM"] if match[2] else 0)
    return (TRUE if match[3] == "T" else int(match[3])) | flags


def _operand(text: str, code: str, starts: dict[str, int]) -> Operand:
    """A register, an immediate number, a constant or an address in memory."""

    def flags(signs: str) -> int:
        return sum(SIGNS[sign] for sign in set(signs)) | (FLAGS["FLOAT_SIGN"] if code in FLOATS else 0)

    def number(text: str | None) -> int:
        return NO_REGISTER if text is None or text == "Z" else int(text)

    def word(text: str | None) -> int:
        return int(text or "0", 16) & 0xFFFFFFFF

    if match := _REGISTER.fullmatch(text):
        return Operand(UNIFORM if match[2] else REGISTER, number(match[3]), flags(match[1]))
    if match := _CONSTANT.fullmatch(text):
        return Operand(CONSTANT, word(match[2]), flags(match[1]), number(match[3]), word(match[4]))
    if match := _ADDRESS.fullmatch(text):
        return Operand(ADDRESS, number(match[1]), FLAGS["WIDE"] if match[2] else 0, number(match[3]), word(match[4]))
    if text in starts:
        return Operand(IMMEDIATE, value=starts[text])
    if match := re.fullmatch(r"SR_?([\w.]+)", text):
        return Operand(IMMEDIATE, value=SPECIAL_REGISTERS.index(match[1].replace(".", "_").upper()))
    if match := re.fullmatch(r"B(\d+)|(-?0x[0-9a-f]+)", text):
        return Operand(IMMEDIATE, value=int(match[1]) if match[1] else word(match[2]))
    return Operand(IMMEDIATE, value=int(np.float32(float(text.upper().replace("QNAN", "NAN"))).view(np.uint32)))
