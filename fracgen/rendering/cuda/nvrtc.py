"""Compile the kernels at run time: sources and parameters in, a binary for one architecture out.

CuPy's own path adds `-ftz=true`, which would flush what the CPU keeps, and keys its cache by the
source without its headers. So NVRTC is called directly, with our floating-point options, and
binaries are kept under a digest of everything that decides them.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import re
import tempfile
from pathlib import Path

from fracgen.rendering.cuda.sources import digest, kernels, read_by, sources
from fracgen.support.errors import DeviceError
from fracgen.support.files import whole_file

FLOAT_OPTIONS = ("-ftz=false", "-fmad=false", "-prec-div=true", "-prec-sqrt=true")
OPTIONS = (*FLOAT_OPTIONS, "-std=c++17", "-default-device", "--ptxas-options=-v")


class KernelError(DeviceError):
    """A kernel did not compile; the message holds NVRTC's log."""


def cache_folder() -> Path:
    """Where binaries are kept: $FRACGEN_CACHE_DIR, else fracgen in the user's cache folder."""
    own = os.environ.get("FRACGEN_CACHE_DIR")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(own) if own else Path(base) / "fracgen"


def compile_kernel(name: str, header: str, arch: str) -> Path:
    """The file of a kernel's binary (cubin), compiled if it is not in the cache.

    Args:
        name: one of `kernels`.
        header: text of `parameters.cuh`, from `rendering.parameters.header`.
        arch: such as "sm_90".

    Raises:
        KernelError: NVRTC refuses the source or the architecture.
    """
    file_name = f"{name}-{arch}-{binary_key(name, header, arch)}.cubin"
    path = cache_folder() / file_name
    if path.is_file():
        return path
    binary, _ = build(name, header, arch)
    try:
        return _write(path, binary)
    except OSError:  # no room, or not ours to write
        return _write(_session_folder() / file_name, binary)


def _write(path: Path, binary: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(binary)
    return path


@functools.cache
def _session_folder() -> Path:
    """A cache for this process alone, where the user's cannot be written."""
    folder = tempfile.TemporaryDirectory(prefix="fracgen-kernels-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def binary_key(name: str, header: str, arch: str) -> str:
    """Digest of all that decides a binary: sources, the parameters that it reads, options, compiler, architecture."""
    parts = (name, digest(), read_by(name, header), " ".join(OPTIONS), str(version()), arch)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def version() -> tuple[int, int]:
    """NVRTC's version."""
    from cupy.cuda import nvrtc

    major, minor = nvrtc.getVersion()
    return int(major), int(minor)


def build(name: str, header: str, arch: str) -> tuple[bytes, str]:
    """Compile without the cache: the binary and the compiler's log, which counts its registers."""
    from cupy.cuda import nvrtc

    files = {**{n: t for n, t in sources().items() if n.endswith(".cuh")}, "parameters.cuh": read_by(name, header)}
    texts, names = [t.encode() for t in files.values()], [n.encode() for n in files]
    program = nvrtc.createProgram(sources()[kernels()[name]], kernels()[name], texts, names)
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture={arch}", *OPTIONS))
        log, binary = nvrtc.getProgramLog(program), nvrtc.getCUBIN(program)
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise KernelError(
            f"NVRTC {'.'.join(map(str, version()))} could not compile {kernels()[name]} for {arch} ({error}):\n{log}"
        ) from None
    finally:
        nvrtc.destroyProgram(program)
    return bytes(binary) + b"\0", str(log)  # CuPy drops the last byte of the image, which is zero


def resources(log: str) -> dict[str, int]:
    """Registers, spilled bytes and static shared memory of a kernel, from `build`'s log."""

    def number(pattern: str) -> int:
        found = re.search(pattern, log)
        return int(found.group(1)) if found else 0

    return {
        "registers": number(r"Used (\d+) registers"),
        "spill_bytes": number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        "stack_bytes": number(r"(\d+) bytes stack frame"),
        "shared_bytes": number(r"(\d+) bytes smem"),
    }
