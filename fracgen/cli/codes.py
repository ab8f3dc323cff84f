"""`fracgen sample` and `fracgen codes`: make banks of codes, look at them, import those of other projects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fracgen.cli.options import AsJson, Bank, read_preset, refuse_given
from fracgen.support.files import check_writable, whole_file
from fracgen.support.options import parse_numbers, parse_range
from fracgen.support.terminal import say, working

if TYPE_CHECKING:
    from types import ModuleType

    from fracgen.formulas import banks

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def sample(
    context: typer.Context,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path("bank.safetensors"),
    recipe: Annotated[str, typer.Option(help="Preset whose codes to sample; the options below override it.")] = "paper",
    codes: Annotated[int | None, typer.Option(help="Number of codes.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes they form; must divide the codes.")] = None,
    maps: Annotated[str | None, typer.Option(help="Number of maps a code, as LOW-HIGH.", show_default="2-8")] = None,
    powers: Annotated[
        str | None, typer.Option(help="Mandelbulb variations: powers, as 2-18 or 7,8.", show_default="2-18")
    ] = None,
    rules: Annotated[
        str | None, typer.Option(help="Mandelbulb variations: rules, as 42,168.", show_default="the 61 published")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the codes, 0 to 2^64 - 1.")] = 0,
) -> None:
    """Make a bank of codes and print its SHA-256 and file: IFS codes, or Mandelbulb variations.

    IFS code k depends on the seed, k and the range of maps only: a larger bank begins with a smaller one.
    Variations are every combination of the powers and rules; no seed decides them.
    """
    from fracgen.draws import seed_key
    from fracgen.formulas.banks import make_bank
    from fracgen.recipes.recipe import BankSpec
    from fracgen.recipes.variations import VariationSpec

    spec = read_preset(recipe).bank
    foreign = {"codes": codes, "classes": classes, "maps": maps}
    if isinstance(spec, BankSpec):
        count = spec.codes if codes is None else codes
        if classes is None:
            classes = spec.classes if count % spec.classes == 0 else count
        spec = BankSpec(count, classes, spec.maps if maps is None else parse_range(maps))
        foreign = {"powers": powers, "rules": rules}
        of = f"of {spec.maps[0]} to {spec.maps[1]} maps in {classes:,} classes, seed {seed}"
    else:
        refuse_given(context, ("seed",), "Mandelbulb variations are every combination, no seed decides them")
        given_powers = spec.powers if powers is None else parse_numbers(powers)
        spec = VariationSpec(given_powers, spec.rules if rules is None else parse_numbers(rules))
        of = f"of {len(spec.powers)} powers under {len(spec.rules)} rules, each a class"
    if given := [f"--{name}" for name, value in foreign.items() if value is not None]:
        raise ValueError(f"{given[0]} is not for codes of formula {spec.formula!r}: drop it, or change --recipe")
    seed_key(seed)
    check_writable(output)
    with working():
        bank = make_bank(spec, seed)
        bank.save(output)
    say(f"{len(bank):,} codes {of}")
    print(f"{bank.sha256}  {output}")


@app.command()
def show(
    bank: Bank,
    codes: Annotated[list[int] | None, typer.Argument(help="Numbers of codes.", show_default="0")] = None,
    as_json: AsJson = False,
    image: Annotated[Path | None, typer.Option("--image", help="Draw them, too, into a PNG file.")] = None,
) -> None:
    """Print codes: an IFS code's maps, their singular values and probabilities; a variation's formula."""
    from fracgen.formulas.banks import load_bank

    loaded = load_bank(bank)
    for code in codes or [0]:
        if not 0 <= code < len(loaded):
            raise ValueError(f"there is no code {code}: the bank holds codes 0 to {len(loaded) - 1}")
    if image is not None:
        _draw(loaded, codes or [0], image)
    describing = _describing(loaded)
    described = [describing.describe_code(loaded, k) for k in codes or [0]]
    if as_json:
        print(json.dumps(described, indent=2))
        return
    for code in described:
        print("\n".join(describing.code_lines(code)))


@app.command()
def stats(bank: Bank, as_json: AsJson = False) -> None:
    """Print what a bank holds: codes, classes, what they are made of, hash."""
    from fracgen.formulas.banks import load_bank

    loaded = load_bank(bank)
    data = _describing(loaded).describe_bank(loaded)
    if as_json:
        print(json.dumps(data, indent=2))
        return
    for name, value in data.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k}: {v}" for k, v in value.items())
        elif isinstance(value, list):
            value = " to ".join(f"{v:.4f}" for v in value) if isinstance(value[0], float) else _numbers(value)
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

    A pickle of anything but arrays is refused, and no code in it is run.
    """
    from fracgen.formulas.ifs.importing import import_codes, list_fractaldb

    bank = import_codes(source, classes=classes, non_contractive=non_contractive)
    check_writable(output)
    with working():
        bank.save(output)
    say(f"{len(bank):,} codes in {bank.classes:,} classes, {int((~bank.contracts).sum()):,} of them not contractive")
    if source.is_dir() and (left_out := list_fractaldb(source)[1]):
        say(f"left out: {left_out}")
    print(f"{bank.sha256}  {output}")


def _numbers(values: list[int]) -> str:
    """Whole numbers in rising order, runs of them as `2-18`."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _draw(bank: banks.Bank, codes: list[int], path: Path) -> None:
    """Pictures of the codes side by side, of the formula's usual recipe."""
    import numpy as np
    from PIL import Image

    from fracgen.recipes.presets import preset
    from fracgen.rendering import make_renderer

    check_writable(path)
    recipe = preset("paper" if bank.formula == "ifs" else bank.formula).recipe
    index = [code // bank.per_class + code % bank.per_class * bank.classes for code in codes]
    images = make_renderer(bank, recipe, "cpu").render(index).images
    with whole_file(path) as file:
        Image.fromarray(np.concatenate(list(images), axis=2).transpose(1, 2, 0)).save(file, "PNG")


def _describing(bank: banks.Bank) -> ModuleType:
    """The module that describes the codes of a bank's formula."""
    from importlib import import_module

    return import_module(f"fracgen.formulas.{bank.formula}.describing")
