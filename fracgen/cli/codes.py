"""`fracgen codes`: look at codes, import those of other projects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fracgen.formulas.ifs.bank import CodeBank

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Bank = Annotated[Path, typer.Argument(help="File of a code bank.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(
    bank: Bank,
    codes: Annotated[list[int] | None, typer.Argument(help="Numbers of codes.", show_default="0")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the maps of codes, their singular values and the probabilities of choosing them."""
    from fracgen.formulas.ifs.bank import CodeBank

    loaded = CodeBank.load(bank)
    described = [describe_code(loaded, k) for k in codes or [0]]
    if as_json:
        print(json.dumps(described, indent=2))
        return
    for code in described:
        print(f"code {code['code']}  class {code['class']}  sigma factor {code['sigma_factor']:.4f}")
        print("         a        b        c        d        e        f       s1       s2        p")
        for row in code["maps"]:
            numbers = [row[name] for name in ("a", "b", "c", "d", "e", "f", "s1", "s2", "p")]
            print("  " + " ".join(f"{number:8.4f}" for number in numbers))


@app.command()
def stats(bank: Bank, as_json: AsJson = False) -> None:
    """Print what a bank holds: codes, classes, maps, sigma factors, singular values, hash."""
    from fracgen.formulas.ifs.bank import CodeBank

    data = describe_bank(CodeBank.load(bank))
    if as_json:
        print(json.dumps(data, indent=2))
        return
    for name, value in data.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k}: {v}" for k, v in value.items())
        elif isinstance(value, list):
            value = " to ".join(f"{v:.4f}" for v in value)
        print(f"{name.replace('_', ' '):24}{value}")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="Pickle file of Anderson and Farrell, or FractalDB's CSV folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path("bank.safetensors"),
    classes: Annotated[int | None, typer.Option(help="Classes the codes form.", show_default="one a code")] = None,
    non_contractive: Annotated[
        bool, typer.Option("--non-contractive", help="Admit maps that do not contract, as most of FractalDB's.")
    ] = False,
) -> None:
    """Make a bank of another project's codes and print its SHA-256 and file.

    A pickle that asks for anything but arrays is refused, and nothing in it is run.
    """
    from fracgen.formulas.ifs.importing import import_codes
    from fracgen.support.files import check_writable
    from fracgen.support.terminal import say, working

    bank = import_codes(source, classes=classes, non_contractive=non_contractive)
    check_writable(output)
    with working():
        bank.save(output)
    say(f"{len(bank):,} codes in {bank.classes:,} classes, {int((~bank.contracts).sum()):,} of them not contractive")
    print(f"{bank.sha256}  {output}")


def describe_code(bank: CodeBank, code: int) -> dict[str, Any]:
    """One code, JSON types. Raises ValueError where the bank has no such code."""
    import numpy as np

    if not 0 <= code < len(bank):
        raise ValueError(f"there is no code {code}: the bank holds codes 0 to {len(bank) - 1}")
    rows = []
    for m, p in zip(bank.maps[code], bank.probabilities[code], strict=True):
        s1, s2 = np.linalg.svd(m[:, :2].astype(np.float64), compute_uv=False)
        values = {
            "a": m[0, 0], "b": m[0, 1], "c": m[1, 0], "d": m[1, 1], "e": m[0, 2], "f": m[1, 2],
            "s1": s1, "s2": s2, "p": p,
        }  # fmt: skip
        rows.append({name: float(value) for name, value in values.items()})
    return {
        "code": code, "class": code // bank.per_class, "sigma_factor": float(bank.sigma_factors[code]),
        "maps": rows[: int(bank.sizes[code])],
    }  # fmt: skip


def describe_bank(bank: CodeBank) -> dict[str, Any]:
    """What a bank holds, JSON types."""
    import numpy as np

    sizes, counts = np.unique(bank.sizes, return_counts=True)
    singular = np.linalg.svd(bank.maps[..., :2].astype(np.float64), compute_uv=False)
    used = np.arange(bank.maps.shape[1]) < bank.sizes[:, None]
    return {
        "codes": len(bank), "classes": bank.classes, "codes_a_class": bank.per_class,
        "codes_by_maps": {str(n): int(c) for n, c in zip(sizes, counts, strict=True)},
        "sigma_factor": [float(bank.sigma_factors.min()), float(bank.sigma_factors.max())],
        "largest_singular_value": [float(singular[used][:, 0].min()), float(singular[used][:, 0].max())],
        "not_contractive": int((~bank.contracts).sum()),
        "origin": dict(bank.metadata), "sha256": bank.sha256,
    }  # fmt: skip
