"""`fracgen sample` and `fracgen codes`: make banks of codes, look at them, import those of other projects."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_origin, get_type_hints

import typer

from fracgen.cli.options import AsJson, Bank, Given, read_preset, refuse_given, with_options
from fracgen.formulas import FORMULAS
from fracgen.formulas.formula import formula
from fracgen.support.files import check_writable, whole_file
from fracgen.support.options import Option
from fracgen.support.terminal import say, working

if TYPE_CHECKING:
    from fracgen.formulas import files

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def _fields() -> type[object]:
    """A dataclass of the described fields of all formulas' specifications."""
    found = {name: hint for one in FORMULAS for name, hint in _described(formula(one).spec).items()}
    return dataclasses.make_dataclass(
        "Fields", [(name, hint, dataclasses.field(default=None)) for name, hint in found.items()]
    )


def _described(spec: type[object]) -> dict[str, object]:
    hints = get_type_hints(spec, include_extras=True)
    return {name: hint for name, hint in hints.items() if get_origin(hint) is Annotated}


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """The options of `fracgen sample`."""

    output: Annotated[Path, Option("File to write.", names=("-o", "--output"))] = Path("bank.safetensors")
    recipe: Annotated[str, "Preset whose codes to sample; the options of codes override it."] = "paper"
    codes: Annotated[dict[str, object], Given(_fields())] = dataclasses.field(default_factory=dict)
    seed: Annotated[int, "Seed of the codes, 0 to 2^64 - 1."] = 0


@with_options
def sample(context: typer.Context, *, asked: Sampling) -> None:
    """Make a bank of codes and print its SHA-256 and file: IFS codes, or Mandelbulb variations.

    IFS code k depends on the seed, k and the range of maps only: a larger bank begins with a smaller one.
    Variations are every combination of the powers and rules; no seed decides them.
    """
    from fracgen.draws import seed_key
    from fracgen.formulas.formula import make_bank

    spec = read_preset(asked.recipe).bank
    foreign = _described(_fields()).keys() - _described(type(spec)).keys()
    refuse_given(context, foreign, f"codes of formula {spec.formula!r} have none, change --recipe")
    sampled = formula(spec.formula).sampled
    if not sampled:
        refuse_given(context, ("seed",), "these codes are every combination, no seed decides them")
    spec = spec.changed(**asked.codes)
    seed_key(asked.seed)
    check_writable(asked.output)
    with working():
        bank = make_bank(spec, asked.seed)
        bank.save(asked.output)
    say(f"{spec}, seed {asked.seed}" if sampled else str(spec))
    print(f"{bank.sha256}  {asked.output}")


@app.command()
def show(
    bank: Bank,
    codes: Annotated[list[int] | None, typer.Argument(help="Numbers of codes.", show_default="0")] = None,
    as_json: AsJson = False,
    image: Annotated[Path | None, typer.Option("--image", help="Draw them, too, into a PNG file.")] = None,
) -> None:
    """Print codes: an IFS code's maps, their singular values and probabilities; a variation's formula."""
    from fracgen.formulas.formula import load_bank

    loaded = load_bank(bank)
    for code in codes or [0]:
        if not 0 <= code < len(loaded):
            raise ValueError(f"there is no code {code}: the bank holds codes 0 to {len(loaded) - 1}")
    if image is not None:
        _draw(loaded, codes or [0], image)
    if as_json:
        print(json.dumps([loaded.describe_code(k) for k in codes or [0]], indent=2))
        return
    for code in codes or [0]:
        print("\n".join(loaded.code_lines(code)))


@app.command()
def stats(bank: Bank, as_json: AsJson = False) -> None:
    """Print what a bank holds: codes, classes, what they are made of, hash."""
    from fracgen.formulas.formula import load_bank

    loaded = load_bank(bank)
    data = loaded.describe()
    if as_json:
        print(json.dumps(data, indent=2))
        return
    for name, value in data.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k}: {v}" for k, v in value.items())
        elif isinstance(value, list):
            whole = [v for v in value if isinstance(v, int)]
            value = _numbers(whole) if whole else " to ".join(f"{v:.4f}" for v in value)
        print(f"{name.replace('_', ' '):24}{value}")


@app.command("import")
def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="Pickle file of Anderson and Farrell, FractalDB's CSV folder, FRACTINT's .ifs, or flames of flam3 "
            "(.flame, .flam3, .xml)."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path("bank.safetensors"),
    classes: Annotated[int | None, typer.Option(help="Classes the codes form.", show_default="one a code")] = None,
    non_contractive: Annotated[
        bool,
        typer.Option("--non-contractive", help="Admit maps that do not contract, as most of FractalDB's and flam3's."),
    ] = False,
) -> None:
    """Make a bank of another project's codes and print its SHA-256 and file.

    A pickle of anything but arrays is refused, and no code in it is run. Of a file of several codes those are taken
    that are maps of the plane, 2 to 8 of them, all affine; others are named.
    """
    from fracgen.formulas.ifs.exchange import import_codes

    bank = import_codes(source, classes=classes, non_contractive=non_contractive)
    check_writable(output)
    with working():
        bank.save(output)
    say(f"{len(bank):,} codes in {bank.classes:,} classes, {int((~bank.contracts).sum()):,} of them not contractive")
    if left_out := bank.metadata.get("left_out"):
        say(f"left out: {left_out}")
    print(f"{bank.sha256}  {output}")


@app.command()
def export(
    bank: Bank,
    codes: Annotated[list[int] | None, typer.Argument(help="Numbers of codes.", show_default="all")] = None,
    format: Annotated[
        str, typer.Option(help="`flame`, for flam3, or `ifs`, for FRACTINT.", metavar="flame|ifs")
    ] = "flame",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write.", show_default="codes.flame or codes.ifs")
    ] = None,
) -> None:
    """Write IFS codes for another program: maps and probabilities; a flame also has a view of its attractor."""
    from fracgen.formulas.formula import load_bank
    from fracgen.formulas.ifs.bank import CodeBank
    from fracgen.formulas.ifs.exchange import export_codes

    loaded = load_bank(bank)
    if not isinstance(loaded, CodeBank):
        raise ValueError(f"{bank} holds codes of formula {loaded.formula!r}: only those of ifs are maps to export")
    path = output or Path(f"codes.{format}")
    export_codes(loaded, path, format, codes)
    print(path)


def _numbers(values: list[int]) -> str:
    """Whole numbers in rising order, runs of them as `2-18`."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _draw(bank: files.Bank, codes: list[int], path: Path) -> None:
    """Pictures of the codes side by side, of the formula's usual recipe."""
    import numpy as np
    from PIL import Image

    from fracgen.order import index_of
    from fracgen.recipes.presets import preset
    from fracgen.rendering import make_renderer

    check_writable(path)
    recipe = preset(formula(bank.formula).presets[0].name).recipe
    index = [index_of(code, bank.classes, bank.per_class) for code in codes]
    images = make_renderer(bank, recipe, "cpu").render(index).numpy().images
    with whole_file(path) as file:
        Image.fromarray(np.concatenate(list(images), axis=2).transpose(1, 2, 0)).save(file, "PNG")
