"""The shape of the code: which way imports point, who may import CuPy, and what importing costs."""

from __future__ import annotations

import ast
import functools
import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fracgen_eval
import pytest

import fracgen
from fracgen.formulas import FORMULAS

PACKAGES = {"fracgen": Path(fracgen.__file__).parent, "fracgen_eval": Path(fracgen_eval.__file__).parent}

LAYERS = [
    ["fracgen.support"],
    ["fracgen.slurm", "fracgen.weights"],
    ["fracgen.draws", "fracgen.order", "fracgen.formulas"],
    ["fracgen.recipes", "fracgen.formulas.files", "fracgen.formulas.formula", "fracgen.rendering"],
    [*FORMULAS.values()],
    ["fracgen.loading", "fracgen.writing"],
    ["fracgen.networks"],
    ["fracgen.training"],
    ["fracgen.benchmarking"],
    ["fracgen_eval.errors", "fracgen_eval.decisions", "fracgen_eval.metrics", "fracgen_eval.pictures"],
    ["fracgen_eval.datasets"],
    ["fracgen_eval.weights"],
    ["fracgen_eval.images"],
    ["fracgen_eval.methods"],
    ["fracgen_eval.grid", "fracgen_eval.predict"],
    ["fracgen_eval.report"],
    ["fracgen.cli"],
    ["fracgen.__main__"],
]
"""Draws, recipes and rendering, the formulas, loading and writing, training, evaluation, command line: a module
imports from its own line and from lines above it. What formulas share knows none of them but by its name."""

FACADES = {"fracgen", "fracgen_eval"}
"""They name what others may use, and load it when it is used."""

CUPY = {"fracgen.rendering.device", "fracgen.rendering.cuda.renderer", "fracgen.rendering.cuda.nvrtc"}

HEAVY = {"torch", "torchvision", "numba", "llvmlite", "cupy", "lightning", "anomalib", "matplotlib", "timm", "PIL"}


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of both packages by name."""
    result = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            result[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return result


@functools.cache
def parsed(path: Path) -> ast.Module:
    """A file's syntax."""
    return ast.parse(path.read_text())


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """Full names of what a module imports anywhere, those for type checkers alone included."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules() else node.module or "" for name in full}
    return frozenset(names)


def layer(module: str) -> int | None:
    """Number of the layer of a module, by as many of its first names as some layer has."""
    parts = module.split(".")
    tops = (".".join(parts[:n]) for n in (3, 2))
    return next((k for top in tops for k, names in enumerate(LAYERS) if top in names), None)


@functools.cache
def edges() -> dict[str, set[str]]:
    """Which of our modules each of them imports, the two facades left out."""
    return {
        name: set(imports(path) & modules().keys()) - FACADES - {name}
        for name, path in modules().items()
        if name not in FACADES
    }


def test_every_module_has_its_place() -> None:
    assert len(modules()) > 100
    homeless = [name for name in modules() if layer(name) is None and name not in FACADES]
    assert not homeless, f"say in LAYERS where these stand: {homeless}"
    gone = {top for names in LAYERS for top in names} - set(modules())
    assert not gone, f"LAYERS names what does not exist: {gone}"


def test_few_modules_lie_loose() -> None:
    loose = sorted(path.name for path in PACKAGES["fracgen"].glob("*.py"))
    assert len(loose) <= 7, f"a folder shows what belongs together: {loose}"


def test_imports_point_one_way() -> None:
    wrong = []
    for name, others in edges().items():
        for other in others:
            own, its = layer(name), layer(other)
            if own is None or its is None or its > own:
                wrong.append(f"{name} imports {other}")
    assert not wrong


def test_no_import_cycle() -> None:
    """Those for type checkers alone count: two modules that know each other are one module."""
    left = dict(edges())
    while free := [name for name, others in left.items() if not others & set(left)]:
        for name in free:
            del left[name]
    assert not left, f"these import each other, or import those that do: {sorted(left)}"


NUMBA = {"numba", "llvmlite", "fracgen.rendering.cpu.jit"}
"""What imports one of these is compiled, inlined or code generation: its functions take what their twins take."""

MOST_POSITIONAL = 6


def positional(path: Path) -> Iterator[tuple[str, int]]:
    """Names of a module's functions, lambdas and dataclasses, and how many arguments each takes by position."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            names = [a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")]
            yield getattr(node, "name", "lambda"), len(names)
        elif isinstance(node, ast.ClassDef):
            kinds = [ast.unparse(decorator) for decorator in node.decorator_list]
            if any("dataclass" in kind and "kw_only=True" not in kind for kind in kinds):
                kinds = [ast.unparse(part.annotation) for part in node.body if isinstance(part, ast.AnnAssign)]
                fields = [kind for kind in kinds if not kind.startswith("ClassVar")]
                yield node.name, (fields.index("KW_ONLY") if "KW_ONLY" in fields else len(fields))


def test_no_function_takes_a_long_row_of_arguments() -> None:
    """Beyond six nobody knows their order: name them (`*`, `KW_ONLY`), or make one thing of them."""
    long, folder = [], Path(__file__).parents[1] / "bench"
    for path in (*modules().values(), *folder.rglob("*.py")):
        if not imports(path) & NUMBA and not any(i.split(".")[0] in NUMBA for i in imports(path)):
            long += [f"{path}: {name} ({n})" for name, n in positional(path) if n > MOST_POSITIONAL]
    assert not long, f"more than {MOST_POSITIONAL} positional arguments: {long}"


def bound(path: Path) -> set[str]:
    """Names that a module binds outside of its functions and classes."""
    names: set[str] = set()
    todo: list[ast.AST] = list(parsed(path).body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name):
            names.add(node.id)
        else:
            todo += ast.iter_child_nodes(node)
    return names


def test_what_is_imported_exists() -> None:
    """Also by those that no test runs: studies, examples and slow tests go stale in silence."""
    root = Path(__file__).parents[1]
    ours = dict(modules())
    for folder in ("bench", "tests", "examples", "docs"):
        for path in (root / folder).rglob("*.py"):
            ours[".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")] = path
    names = {module: bound(path) for module, path in ours.items()}
    stale, seen = [], 0
    for path in ours.values():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ImportFrom) and node.module in ours:
                wanted = {alias.name for alias in node.names if f"{node.module}.{alias.name}" not in ours}
                stale += [f"{path}: {node.module}.{name}" for name in wanted - names[node.module]]
                seen += len(wanted)
    assert seen > 1000
    assert not stale


def test_only_the_cuda_backend_imports_cupy() -> None:
    users = {name for name, path in modules().items() if any(i.split(".")[0] == "cupy" for i in imports(path))}
    assert users <= CUPY
    assert "fracgen.rendering.device" in users  # so this test does see imports


def test_nobody_imports_click_or_the_evaluation() -> None:
    for name, path in modules().items():
        tops = {i.split(".")[0] for i in imports(path)}
        assert "click" not in tops, f"{name}: Typer carries its own"
        assert "fracgen_eval" not in tops or name.startswith(("fracgen.cli", "fracgen_eval")), name


def reachable(starts: set[str]) -> set[str]:
    """Modules that these import, directly or by way of others."""
    seen: set[str] = set()
    while starts:
        seen |= starts
        starts = {other for name in starts for other in edges()[name]} - seen
    return seen


def test_a_changed_source_changes_the_stamp_of_compiled_stages(tmp_path: Path) -> None:
    """Wherever it lies: a stale binary would be served in silence. Every file that a stage may inline is edited."""
    from fracgen.rendering.cpu import jit

    package = tmp_path / "fracgen"
    shutil.copytree(PACKAGES["fracgen"], package, ignore=shutil.ignore_patterns("__pycache__"))
    stages = {name for name, path in modules().items() if "fracgen.rendering.cpu.jit" in imports(path)}
    files = {modules()[name].relative_to(PACKAGES["fracgen"]) for name in reachable(stages)}
    assert {Path("draws.py"), Path("rendering/records.py"), Path("recipes/recipe.py")} <= files
    before = jit.stamp(package)
    assert before == jit.stamp()
    for file in files:
        text = (package / file).read_text()
        (package / file).write_text(text + "\nX = 1\n")
        assert jit.stamp(package) != before, f"{file} may be inlined into a stage: name its folder in jit.SOURCES"
        (package / file).write_text(text)


def test_a_changed_source_changes_the_digest_of_the_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers and kernels alike, wherever they lie; and every header that one includes is handed to the compiler."""
    from fracgen.rendering.cuda import sources

    def forget() -> None:
        for function in (sources.kernel_folder, sources.sources, sources.digest):
            function.cache_clear()

    folder = tmp_path / "kernels"
    shutil.copytree(sources.kernel_folder(), folder)
    monkeypatch.setattr(sources, "PACKAGE", tmp_path / "fracgen")
    before, files = sources.digest(), [path for path in folder.rglob("*") if path.suffix in (".cu", ".cuh")]
    assert len(files) > 8
    try:
        forget()
        assert sources.digest() == before
        included = {i for text in sources.sources().values() for i in re.findall(r'#include "(.+)"', text)}
        assert included - {"parameters.cuh"} <= set(sources.sources())
        for file in files:
            text = file.read_text()
            file.write_text(text + "\n")
            forget()
            assert sources.digest() != before, file
            file.write_text(text)
    finally:
        forget()


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh Python holds after running `code`."""
    tell = "import sys, json; print('\\n' + json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{tell}"], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("code", "free_of"),
    [
        ("import fracgen", HEAVY | {"numpy", "safetensors", "typer"}),
        ("import fracgen; fracgen.CodeBank, fracgen.Recipe, fracgen.PRESETS", HEAVY),
        ("import fracgen; fracgen.CodeBank.sample(10)", HEAVY),
        ("from fracgen.cli import run; assert run(['--help']) == 0", HEAVY | {"numpy", "rich"}),
        ("from fracgen.cli import run; assert run(['render', '--help']) == 0", HEAVY | {"numpy"}),
        ("from fracgen.cli import run; assert run(['render', '--recipe', 'none']) == 2", HEAVY),
        ("import fracgen; fracgen.make_renderer(fracgen.CodeBank.sample(2), 'paper', 'cpu')", {"torch", "cupy"}),
    ],
)
def test_importing_stays_light(code: str, free_of: set[str]) -> None:
    assert not loaded_by(code) & free_of


def test_heavy_modules_would_be_seen() -> None:
    assert "numba" in loaded_by("import numba")


def test_help_takes_less_than_half_a_second() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "fracgen", "--help"], capture_output=True, text=True, check=True)
        assert "render" in done.stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(4)) < 0.5


def test_importing_prints_nothing() -> None:
    code = "import fracgen, fracgen.cli, fracgen.writing, fracgen.cli.doctor, fracgen.rendering"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""
