"""A kernel's binary as the simulator reads it: instructions with their control codes.

`nvdisasm` does the decoding; it comes inside triton's wheel, which torch brings. Its text names
instruction, operands and labels, its hexadecimal comments hold the control code: bits 41 to 57 of the
second word are stall (4), yield (1), write barrier (3), read barrier (3) and wait mask (6).
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.model import machine

OPERAND = np.dtype([("kind", "u1"), ("index", "u1"), ("flags", "u1"), ("second", "u1"), ("value", "<u4")])
INSTRUCTION = np.dtype(
    [
        ("modifiers", "<u8", 2), ("source", OPERAND, 4), ("code", "<u2"), ("target_kind", "u1"), ("target", "u1"),
        ("predicate_target", "u1", 2), ("predicate_source", "u1", 3), ("guard", "u1"), ("stall", "u1"),
        ("write_barrier", "u1"), ("read_barrier", "u1"), ("wait", "u1"), ("pipe", "u1"), ("busy", "u1"),
        ("latency", "<u2"), ("extra", "<u4"), ("extra_second", "<u4"), ("jump", "<i4"),
    ],
    align=True,
)  # fmt: skip
NONE, REGISTER, UNIFORM, IMMEDIATE, CONSTANT, ADDRESS = range(6)
NEGATED, ABSOLUTE, INVERTED, FLOAT_SIGN, LOW_HALF, HIGH_HALF, WIDE = (1 << k for k in range(7))
NOT, FROM_UNIFORM, NO_PREDICATE = 8, 16, 7

_FLOATS = {"FADD", "FMUL", "FFMA", "FSEL", "FSETP", "FMNMX", "FCHK", "MUFU", "F2I", "F2FP"}
_HALVES = {"HADD2", "HMUL2", "HFMA2"}
_PREDICATE = re.compile(r"^(!?)(U?)P([0-6T])$")
_LINE = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;\s*/\* 0x([0-9a-f]{16}) \*/")
_SECOND = re.compile(r"^\s+/\* 0x([0-9a-f]{16}) \*/")
_SOURCE_LINE = re.compile(r'^\s+//## File "([^"]+)", line (\d+)')
_LABEL = re.compile(r"^(\.L_x_\d+|\$[\w$.]+):")


class UnknownInstruction(ValueError):
    """The simulator has no meaning for an instruction."""


@dataclass(frozen=True)
class Program:
    """A kernel, disassembled.

    Args:
        name: of the kernel.
        code: `INSTRUCTION` [n].
        text: of each instruction.
        lines: of the source that each instruction was made from, as "file:line"; empty if the compiler did not say.
        registers: a thread's.
        shared_bytes: static shared memory.
        banks: number of a constant bank -> its bytes: 2 holds tables of jumps, 3 constant arrays.
    """

    name: str
    code: NDArray[np.void]
    text: tuple[str, ...]
    lines: tuple[str, ...]
    _: KW_ONLY
    registers: int
    shared_bytes: int
    banks: dict[int, bytes] = field(default_factory=dict)


def find_nvdisasm() -> str:
    """Path of nvdisasm: inside triton's wheel, else on the search path.

    Raises:
        FileNotFoundError: neither has it.
    """
    spec = importlib.util.find_spec("triton")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        tool = Path(folder) / "backends" / "nvidia" / "bin" / "nvdisasm"
        if tool.is_file():
            return str(tool)
    if tool_path := shutil.which("nvdisasm"):
        return tool_path
    raise FileNotFoundError("nvdisasm is neither inside triton's wheel nor on PATH: install triton or the CUDA toolkit")


def disassemble(binary: bytes, name: str) -> Program:
    """The program in a cubin.

    Raises:
        UnknownInstruction: it holds an instruction that the simulator has no meaning for.
    """
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        command = [find_nvdisasm(), "-hex", "-g", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return replace(parse(text, name), banks=constant_banks(binary, name))


def constant_banks(binary: bytes, name: str) -> dict[int, bytes]:
    """Contents of a kernel's constant banks but the first, from the sections of its ELF file."""
    (table,) = struct.unpack_from("<Q", binary, 0x28)
    size, count, names = struct.unpack_from("<HHH", binary, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", binary, table + k * size) for k in range(count)]
    out = {}
    for at, _, _, _, offset, length in sections:
        start = sections[names][4] + at
        own = binary[start : binary.index(b"\0", start)].decode()
        if bank := re.fullmatch(rf"\.nv\.constant([1-9])(?:\.{re.escape(name)})?", own):
            out[int(bank.group(1))] = binary[offset : offset + length]
    return out


def parse(text: str, name: str) -> Program:
    """The program in nvdisasm's text."""
    section = re.search(rf"^\.text\.{re.escape(name)}:$(.*?)(?=^//-{{10}}|\Z)", text, re.M | re.S)
    if section is None:
        raise ValueError(f"no kernel {name} in the disassembly")
    lines: list[tuple[str, int]] = []
    labels: dict[str, int] = {}
    pending = place = ""
    places: list[str] = []
    for line in section.group(1).splitlines():
        if label := _LABEL.match(line):
            labels[label.group(1)] = len(lines)
        elif source := _SOURCE_LINE.match(line):
            place = f"{Path(source.group(1)).name}:{source.group(2)}"
        elif first := _LINE.match(line):
            pending = first.group(2)
        elif pending and (second := _SECOND.match(line)):
            lines.append((pending, int(second.group(1), 16)))
            places.append(place)
            pending = ""
    code = np.zeros(len(lines), INSTRUCTION)
    for row, (own, high) in zip(code, lines, strict=True):
        _decode(row, own, high, labels)
    registers = re.search(rf"EIATTR_REGCOUNT.*?index@\({re.escape(name)}\)\s+\S+\s+\.word\s+0x([0-9a-f]+)", text, re.S)
    reserved = re.search(rf"^\.nv\.shared\.{re.escape(name)}:\s*\n\s*\.zero\s+(\d+)", text, re.M)
    return Program(
        name, code, tuple(t for t, _ in lines), tuple(places),
        registers=int(registers.group(1), 16) if registers else 255,
        shared_bytes=int(reserved.group(1)) if reserved else SHARED_WINDOW,
    )  # fmt: skip


SHARED_WINDOW = 1024
"""Bytes that the system keeps at the start of a block's shared memory; static arrays follow."""


def _decode(row: np.void, text: str, high: int, labels: dict[str, int]) -> None:
    control = high >> 41
    row["stall"], row["write_barrier"], row["read_barrier"] = control & 15, control >> 5 & 7, control >> 8 & 7
    row["wait"] = control >> 11 & 63
    row["predicate_target"], row["predicate_source"], row["guard"] = NO_PREDICATE, NO_PREDICATE, NO_PREDICATE
    row["jump"] = -1
    match = re.match(r"^(?:@(\S+)\s+)?(\S+)\s*(.*)$", text)
    assert match, text
    guard, full, rest = match.groups()
    if guard:
        row["guard"] = _predicate(guard)
    code, modifiers, uniform = _mnemonic(full)
    operands = [part.strip().replace(".reuse", "") for part in rest.split(",") if part.strip()]
    row["code"] = machine.CODES.index(code)
    for modifier in modifiers & set(machine.MODIFIERS):
        number = machine.MODIFIERS.index(modifier)
        row["modifiers"][number // 64] |= np.uint64(1 << number % 64)
    row["pipe"] = machine.PIPES.index("uniform") if uniform and code != "LDC" else machine.UNIT_OF[code]
    row["busy"], row["latency"] = machine.busy(code, modifiers), machine.latency(code)
    try:
        _operands(row, code, modifiers, operands, labels)
    except (ValueError, IndexError) as error:
        raise UnknownInstruction(f"{text!r}: {error}") from None


def _mnemonic(full: str) -> tuple[str, set[str], bool]:
    """Code, modifiers and whether it is the uniform form."""
    code, *rest = full.rstrip(";").split(".")
    modifiers = {part.upper() for part in rest}
    if code == "BAR" and "RED" not in modifiers and not modifiers & {"SYNC", "ARV"}:
        raise UnknownInstruction(f"{full!r}: only BAR.SYNC and BAR.RED have a meaning here")
    uniform = False
    if code not in machine.UNIT_OF and code.startswith("U") and code[1:] in machine.UNIT_OF:
        code, uniform = code[1:], True
    elif code == "VOTEU":
        code, uniform = "VOTE", True
    if code not in machine.UNIT_OF:
        raise UnknownInstruction(f"{full!r} has no meaning in bench/model/simulator: add it there and in machine.py")
    return code, modifiers, uniform


def _operands(row: np.void, code: str, modifiers: set[str], operands: list[str], labels: dict[str, int]) -> None:
    if code in ("BRA", "BSSY", "CALL", "BSYNC", "BREAK", "RET", "BRX"):
        return _control_operands(row, operands, labels)
    if code in ("IADD3", "IMAD", "LEA") and "X" in modifiers:
        row["predicate_source"] = NO_PREDICATE | NOT  # a carry that is not named is none
    if code in ("S2R", "S2UR", "CS2R"):
        row["target_kind"], row["target"] = _register(operands[0])
        row["extra"] = _special(operands[1])
        return None
    if code == "PLOP3":
        row["predicate_target"] = [_predicate(p) for p in operands[:2]]
        row["predicate_source"] = [_predicate(p) for p in operands[2:5]]
        row["extra"], row["extra_second"] = int(operands[5], 16), int(operands[6], 16)
        return None
    if code == "VOTE":
        target = [o for o in operands if not _PREDICATE.match(o)]
        predicates = [_predicate(o) for o in operands if _PREDICATE.match(o)]
        if target:
            row["target_kind"], row["target"] = _register(target[0])
        row["predicate_source"][0] = predicates[-1]
        row["predicate_target"][: len(predicates) - 1] = predicates[:-1]
        return None
    has_target = code not in ("ISETP", "FSETP", "FCHK", "STS", "STG", "RED", "REDG", "BAR", "R2P", "EXIT", "WARPSYNC")
    without = ("NOP", "ERRBAR", "CCTL", "MEMBAR", "FENCE", "DEPBAR", "YIELD", "ENDCOLLECTIVE")
    has_target = has_target and code not in without
    if (machine.UNIT_OF[code] == 0 and not has_target) or code in ("EXIT", "WARPSYNC"):
        if code == "EXIT" and operands:
            raise ValueError("an exit with operands")
        return None
    return _plain_operands(row, code, modifiers, operands, has_target)


def _plain_operands(row: np.void, code: str, modifiers: set[str], operands: list[str], has_target: bool) -> None:
    """Predicate targets, target, more predicate targets, sources, predicate sources: in that order."""
    operands = [o for o in operands if o != "PR"]
    into = 0
    waiting = has_target
    position = 0
    targets_end = False
    predicate_sources = sources = 0
    for position, operand in enumerate(operands):
        if _PREDICATE.match(operand):
            if not targets_end and not operand.startswith("!") and sources == 0 and code not in ("BAR",):
                row["predicate_target"][into] = _predicate(operand)
                into += 1
            else:
                row["predicate_source"][predicate_sources] = _predicate(operand)
                predicate_sources += 1
        elif waiting:
            row["target_kind"], row["target"] = _register(operand)
            waiting = False
        else:
            targets_end = True
            if code in ("LOP3", "LEA") and position == _extra_position(code, operands):
                row["extra"] = int(operand, 16)
                continue
            row["source"][sources] = _source(operand, code, modifiers)
            if code == "LDC" and (bank := re.match(r"^c\[(0x\d+)\]", operand)):
                row["extra"] = int(bank.group(1), 16)
            if code in ("I2F", "I2FP"):
                byte = re.search(r"\.B([0-3])$", operand)
                half = operand.endswith(".H1")
                row["extra"] = int(byte.group(1)) if byte else 2 if half else 4
            sources += 1
    if code == "HFMA2" and sources == 4:  # the two halves of an immediate stand apart
        low, high = row["source"][3]["value"], row["source"][2]["value"]
        row["source"][2]["value"] = int(high) << 16 | int(low)
        row["source"][3]["kind"] = NONE
    if code in ("LDG", "STG", "RED", "REDG", "ATOM", "ATOMG") and "desc" not in operands[0 if not has_target else 1]:
        raise ValueError("global memory without a descriptor")


def _extra_position(code: str, operands: list[str]) -> int:
    """Where the LUT of LOP3, or the shift of LEA, stands: last of what is no predicate."""
    return max(k for k, o in enumerate(operands) if not _PREDICATE.match(o))


def _control_operands(row: np.void, operands: list[str], labels: dict[str, int]) -> None:
    for operand in operands:
        if label := re.search(r"`\((.+?)\)", operand):
            row["jump"] = labels.get(label.group(1), 0)
        if barrier := re.match(r"^B(\d+)$", operand):
            row["extra"] = int(barrier.group(1))
        elif _PREDICATE.match(operand):
            row["predicate_source"][0] = _predicate(operand)
        elif re.match(r"^R\d+", operand):
            register, *offset = operand.split()
            row["source"][0] = _source(register, "RET", set())
            if offset and re.match(r"^-?0x", offset[0]):  # a table's entries are places in the code
                row["extra"] = int(offset[0], 16) & 0xFFFFFFFF


def _predicate(text: str) -> int:
    match = _PREDICATE.match(text)
    if match is None:
        raise ValueError(f"{text} is no predicate")
    inverted, uniform, number = match.groups()
    return (7 if number == "T" else int(number)) | (NOT if inverted else 0) | (FROM_UNIFORM if uniform else 0)


def _register(text: str) -> tuple[int, int]:
    match = re.match(r"^(U?)R(\d+|Z)(?:\.(?:64|F32|H0_H0))?$", text)
    if match is None:
        raise ValueError(f"{text} is no register")
    uniform, number = match.groups()
    zero = 63 if uniform else 255
    return UNIFORM if uniform else REGISTER, zero if number == "Z" else int(number)


def _special(text: str) -> int:
    name = text.removeprefix("SR_").replace(".", "_").upper()
    if name in ("TID_Y", "TID_Z", "CTAID_Z", "CGACTAID", "SRZ"):
        name = "ZERO"
    if name not in machine.SPECIAL_REGISTERS:
        raise ValueError(f"special register {text} has no meaning here")
    return machine.SPECIAL_REGISTERS.index(name)


def _source(text: str, code: str, modifiers: set[str]) -> tuple[int, int, int, int, int]:
    """Kind, index, flags, second register and value of a source operand."""
    is_float, is_half = code in _FLOATS, code in _HALVES
    flags = 0
    if "[" in text:
        return _memory(text) if not text.lstrip("-|~").startswith("c[") else _constant(text, is_float, is_half)
    if re.match(r"^[-~|]*U?R(\d|Z)", text):
        for sign, flag in (("-", NEGATED), ("~", INVERTED), ("|", ABSOLUTE)):
            flags |= flag if sign in text else 0
        if is_float or is_half:
            flags |= FLOAT_SIGN | (WIDE if is_half else 0)
        flags |= LOW_HALF if ".H0_H0" in text else HIGH_HALF if ".H1_H1" in text else 0
        if is_half and "F32" in text:
            raise ValueError("a half instruction with a float operand")
        plain = re.match(r"^[-~|]*(U?R(?:\d+|Z))", text)
        assert plain
        kind, index = _register(plain.group(1))
        return kind, index, flags, 255, 0
    if is_half:
        return IMMEDIATE, 0, 0, 255, int(np.float16(_number(text)).view(np.uint16))
    if is_float and not text.lstrip("-").startswith("0x"):
        return IMMEDIATE, 0, 0, 255, struct.unpack("<I", struct.pack("<f", _number(text)))[0]
    return IMMEDIATE, 0, 0, 255, int(text, 16) & 0xFFFFFFFF


def _number(text: str) -> float:
    return float(text.replace("+INF", "inf").replace("-INF", "-inf").replace("+QNAN", "nan").replace("-QNAN", "nan"))


def _constant(text: str, is_float: bool, is_half: bool) -> tuple[int, int, int, int, int]:
    match = re.match(r"^([-~|]*)c\[(0x[0-9a-f]+)\]\[(?:(U?R\d+)\+?)?(-?0x[0-9a-f]+)?\]\|?(?:\.\w+)?$", text)
    if match is None:
        raise ValueError(f"constant {text} has no meaning here")
    signs, bank, register, offset = match.groups()
    value = int(offset or "0", 16) & 0xFFFFFFFF
    if register:
        kind, index = _register(register)
        return ADDRESS, 255 if kind == UNIFORM else index, 0, index if kind == UNIFORM else 255, value
    flags = (NEGATED if "-" in signs else 0) | (INVERTED if "~" in signs else 0) | (ABSOLUTE if "|" in signs else 0)
    return CONSTANT, int(bank, 16), flags | (FLOAT_SIGN if is_float or is_half else 0), 255, value


def _memory(text: str) -> tuple[int, int, int, int, int]:
    """An address: [R1.X4+UR2+0x10] in shared memory, desc[UR4][R2.64+0x10] in global."""
    inside = re.search(r"\[([^\[\]]*)\]$", text)
    if inside is None:
        raise ValueError(f"address {text} has no meaning here")
    index, second, flags, value = 255, 255, 0, 0
    for part in inside.group(1).split("+"):
        if register := re.match(r"^R(\d+|Z)(?:\.(64|U32|X4|X8|X16))?$", part):
            index = 255 if register.group(1) == "Z" else int(register.group(1))
            form = register.group(2)
            flags |= WIDE if form == "64" else {"X4": 2, "X8": 3, "X16": 4}.get(form or "", 0)
        elif uniform := re.match(r"^UR(\d+)(?:\.64)?$", part):
            second = int(uniform.group(1))
        elif re.match(r"^-?0x[0-9a-f]+$", part):
            value = int(part, 16) & 0xFFFFFFFF
        elif part and part != "URZ":
            raise ValueError(f"address {text} has no meaning here")
    return ADDRESS, index, flags, second, value
