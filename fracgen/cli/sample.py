"""`fracgen sample`: a code bank."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def sample(
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")] = Path("bank.safetensors"),
    recipe: Annotated[str, typer.Option(help="Preset whose codes to sample; the options below override it.")] = "paper",
    codes: Annotated[int | None, typer.Option(help="How many.")] = None,
    classes: Annotated[int | None, typer.Option(help="How many classes they form; must divide the codes.")] = None,
    maps: Annotated[str | None, typer.Option(help="Number of maps a code, as LOW-HIGH.", show_default="2-8")] = None,
    seed: Annotated[int, typer.Option(help="0 to 2^64 - 1.")] = 0,
) -> None:
    """Sample a bank of IFS codes and print its SHA-256 and file.

    Code k depends on the seed, k and the range of maps only: a larger bank begins with a smaller one.
    """
    from fracgen.cli.options import parse_range, read_preset
    from fracgen.draws import seed_key
    from fracgen.formulas.ifs.bank import CodeBank
    from fracgen.recipes.recipe import BankSpec
    from fracgen.support.files import check_writable
    from fracgen.support.terminal import say, working

    spec = read_preset(recipe).bank
    count = spec.codes if codes is None else codes
    if classes is None:
        classes = spec.classes if count % spec.classes == 0 else count
    spec = BankSpec(count, classes, spec.maps if maps is None else parse_range(maps))
    seed_key(seed)
    check_writable(output)
    with working():
        bank = CodeBank.from_spec(spec, seed)
        bank.save(output)
    say(f"{len(bank):,} codes of {spec.maps[0]} to {spec.maps[1]} maps in {bank.classes:,} classes, seed {seed}")
    print(f"{bank.sha256}  {output}")
