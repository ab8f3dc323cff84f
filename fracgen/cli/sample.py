"""`fracgen sample`: a code bank."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sample(
    context: typer.Context,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path("bank.safetensors"),
    recipe: Annotated[str, typer.Option(help="Preset whose codes to sample; the options below override it.")] = "paper",
    codes: Annotated[int | None, typer.Option(help="How many.")] = None,
    classes: Annotated[int | None, typer.Option(help="How many classes they form; must divide the codes.")] = None,
    maps: Annotated[str | None, typer.Option(help="Number of maps a code, as LOW-HIGH.", show_default="2-8")] = None,
    powers: Annotated[
        str | None, typer.Option(help="Mandelbulb variations: powers, as 2-18 or 7,8.", show_default="2-18")
    ] = None,
    rules: Annotated[
        str | None, typer.Option(help="Mandelbulb variations: rules, as 42,168.", show_default="the 61 published")
    ] = None,
    seed: Annotated[int, typer.Option(help="0 to 2^64 - 1.")] = 0,
) -> None:
    """Make a bank of codes and print its SHA-256 and file: IFS codes, or Mandelbulb variations.

    IFS code k depends on the seed, k and the range of maps only: a larger bank begins with a smaller one.
    Variations are every combination of the powers and rules; no seed decides them.
    """
    from fracgen.cli.options import parse_numbers, parse_range, read_preset, refuse_given
    from fracgen.draws import seed_key
    from fracgen.formulas.formula import make_bank
    from fracgen.formulas.ifs import BankSpec
    from fracgen.formulas.mandelbulb import VariationSpec
    from fracgen.support.files import check_writable
    from fracgen.support.terminal import say, working

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
