"""`fracgen doctor`: what is installed, what is missing, how to get it, and whether images are rendered correctly."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import sys
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from typing import TYPE_CHECKING, Literal

import typer

from fracgen.cli.options import AsJson
from fracgen.support.provenance import commit, processors, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.requirements import Requirement

OF_GPU = ("cuda12", "cuda13")
"""Extras of which at most one is installed; the GPU's own check names the right one."""


@dataclass(frozen=True)
class Check:
    """One item that was checked."""

    name: str
    status: Literal["ok", "missing", "fault"]
    """`missing` is no fault: an extra that is not installed, a GPU that is not there."""
    found: str
    remedy: str = ""
    facts: Mapping[str, object] | None = None
    """More of the same for programs, JSON types."""


def doctor(as_json: AsJson = False) -> None:
    """Show what is installed, what is missing and how to get it; render images and check their bytes.

    Exits with 1 if something is broken. A missing GPU or extra is no fault.
    """
    checks = examine()
    faults = [check for check in checks if check.status == "fault"]
    if as_json:
        print(json.dumps({"ok": not faults, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        status, name = (max(map(len, column)) + 2 for column in zip(*((c.status, c.name) for c in checks), strict=True))
        for check in checks:
            print(f"{check.status:{status}}{check.name:{name}}{check.found}")
            if check.remedy:
                print(f"{'':{status + name}}-> {check.remedy}")
    if faults:
        raise typer.Exit(1)


def examine() -> list[Check]:
    """Run all checks; takes some seconds, since it imports torch and compiles or loads the renderer."""
    from fracgen.formulas import FORMULAS
    from fracgen.formulas.formula import formula

    gpu, wanted = _gpu(), requirements()
    recipes = [formula(name).presets[0].name for name in FORMULAS]
    checks = [_python(), *map(_core, wanted.pop("", [])), _extras(wanted), _cpu(), _numba_cache(), gpu]
    devices = ["cpu", "cuda"] if gpu.status == "ok" else ["cpu"]
    return [*checks, *(self_test(device, recipe) for device in devices for recipe in recipes)]


def _python() -> Check:
    known = commit()
    found = f"fracgen {version_of('fracgen')}{f' at {known[:12]}' if known else ''}, Python {platform.python_version()}"
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        return Check("fracgen", "fault", found, "use Python 3.11 to 3.14")
    return Check("fracgen", "ok", f"{found}, {platform.platform()}")


def requirements() -> dict[str, list[Requirement]]:
    """Requirements of fracgen's metadata on this machine, by extra; those without an extra are under "".

    Empty if fracgen is not installed but found on a path. The extra `all` is left out, as it repeats others.
    """
    from packaging.requirements import Requirement

    try:
        texts = requires("fracgen") or []
    except PackageNotFoundError:
        return {}
    found: dict[str, list[Requirement]] = {}
    for wanted in map(Requirement, texts):
        extra = re.search(r"""extra == ["'](.+?)["']""", str(wanted.marker or ""))
        name = extra[1] if extra else ""
        here = wanted.marker is None or wanted.marker.evaluate({"extra": name})
        if here and wanted.name != "fracgen" and name != "all":
            found.setdefault(name, []).append(wanted)
    return found


def misfit(wanted: Requirement, version: str) -> str:
    """Why a version does not meet a requirement; empty if it does.

    >>> from packaging.requirements import Requirement
    >>> misfit(Requirement("anomalib>=2.7,<2.8"), "2.8.1")
    '2.8.1 is too new, <2.8,>=2.7 is needed'
    """
    failed = {one.operator for one in wanted.specifier if not one.contains(version, prereleases=True)}
    if not failed:
        return ""
    how = "known to be bad" if failed == {"!="} else "too old" if failed & {">=", ">", "~="} else "too new"
    return f"{version} is {how}, {wanted.specifier} is needed"


def _core(wanted: Requirement) -> Check:
    """A package that fracgen cannot do without: installed, of a version that it works with, and importable."""
    package, version = wanted.name, version_of(wanted.name)
    if version and (fault := misfit(wanted, version)):
        return Check(package, "fault", fault, f'pip install "{package}{wanted.specifier}"')
    try:
        import_module("PIL" if package == "pillow" else package)
    except Exception as error:  # a broken package raises anything
        found = f"{version or 'not installed'}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return Check(package, "fault", found, f"reinstall it: pip install --force-reinstall {package}")
    return Check(package, "ok", version or "")


def _extras(wanted: dict[str, list[Requirement]]) -> Check:
    """Which packages of extras are here, and whether their versions are among those that fracgen works with."""
    if not wanted:
        remedy = "pip install fracgen, or a checkout of it"
        return Check("extras", "missing", "fracgen is not installed, so no versions are known to check", remedy)
    versions = {one.name: version_of(one.name) for ones in wanted.values() for one in ones}
    here = {package: version for package, version in versions.items() if version}
    pairs = [(extra, one) for extra, ones in wanted.items() for one in ones]
    misfits = [(extra, one.name, misfit(one, here[one.name])) for extra, one in pairs if one.name in here]
    faults = {f"{name} {bad}": extra for extra, name, bad in misfits if bad}
    if faults:
        return Check("extras", "fault", ", ".join(faults), _install(faults.values()), versions)
    missing = {one.name: extra for extra, one in pairs if one.name not in here and extra not in OF_GPU}
    found = ", ".join(f"{package} {version}" for package, version in here.items()) or "none"
    if missing:
        remedy = f"{', '.join(missing)} if wanted: {_install(missing.values())}"
        return Check("extras", "missing", f"here: {found}", remedy, versions)
    return Check("extras", "ok", found, facts=versions)


def _install(extras: Iterable[str]) -> str:
    return f'pip install "fracgen[{",".join(sorted(set(extras)))}]"'


def _cpu() -> Check:
    import llvmlite.binding as llvm

    features, name, threads = llvm.get_host_cpu_features(), llvm.get_host_cpu_name(), processors()
    vectors = [one for one in ("avx2", "fma", "avx512f", "neon", "sve") if features.get(one)]
    found = f"{name}, {threads} threads, {' '.join(vectors) or 'no vector extensions known'}"
    slow = platform.machine() == "x86_64" and not features.get("fma")
    remedy = "this CPU has no fused multiply-add: rendering is right but slow; use a newer one" if slow else ""
    facts = {"name": name, "threads": threads, "features": vectors}
    return Check("CPU", "missing" if slow else "ok", found, remedy, facts)


def _numba_cache() -> Check:
    """Whether compiled code can be kept: without it every run compiles for many seconds."""
    from fracgen.rendering.cpu.noise import noise_stage

    folder = noise_stage._cache.cache_path
    try:
        os.makedirs(folder, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if writable:
        return Check("compiled code", "ok", f"kept in {folder}")
    return Check("compiled code", "fault", f"{folder} cannot be written", "set NUMBA_CACHE_DIR to a folder of yours")


def _gpu() -> Check:
    """Having no GPU is no fault; having one that does not work is, and so is a CuPy that does not import."""
    from fracgen.rendering.device import cuda_facts, cuda_fault, cupy_fault, driver_fault

    facts, absent = cuda_facts(), importlib.util.find_spec("cupy") is None
    if fault := driver_fault():
        if broken := None if absent else cupy_fault(facts["torch_cuda"]):
            return Check("GPU", "fault", broken, "or uninstall CuPy", facts)
        return Check("GPU", "missing", fault, "fracgen renders on the CPU meanwhile", facts)
    if fault := cuda_fault():
        return Check("GPU", "missing" if absent else "fault", fault, facts=facts)
    names = ", ".join(f"{gpu['name']} ({gpu['capability']}, {gpu['memory_gib']} GiB)" for gpu in facts["gpus"])
    found = (
        f"{names}; driver for CUDA {facts['driver_cuda']}, torch CUDA {facts['torch_cuda']}, "
        f"CuPy {facts['cupy']}, NVRTC {facts['nvrtc']}"
    )
    return Check("GPU", "ok", found, facts=facts)


def self_test(device: str = "cpu", recipe: str = "paper") -> Check:
    """Render a recipe's golden batch on a device and compare its bytes with those that every machine must get."""
    from fracgen.rendering import golden, make_renderer

    name = f"self-test on {device}" if recipe == "paper" else f"self-test of {recipe} on {device}"
    expected = golden.load()["images"][recipe]
    try:
        found = golden.compute(recipe, lambda bank, image: make_renderer(bank, image, device))
    except Exception as error:  # any failure is the result of this check
        message = " ".join(str(error).split())[:200]
        return Check(name, "fault", f"rendering failed ({type(error).__name__}: {message})", "report this")
    if found != expected:
        remedy = "the same images must be the same bytes on every machine: please report this with --json's output"
        return Check(name, "fault", f"images of {recipe} are {found[:16]}, not {expected[:16]}", remedy)
    return Check(name, "ok", f"images of {recipe} have the golden hash {found[:16]}")
