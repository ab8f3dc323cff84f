"""What several commands read from their options."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import typer

    from fracgen.recipes.recipe import Preset


def parse_shard(text: str) -> tuple[int, int]:
    """`i/n` as (i, n), i counted from 0. Raises ValueError."""
    head, slash, tail = text.partition("/")
    try:
        i, n = int(head), int(tail)
    except ValueError:
        i = n = -1
    if not slash or not 0 <= i < n:
        raise ValueError(f"shard {text!r} is not of the form i/n with i from 0 to n - 1: for example 0/4")
    return i, n


def refuse_given(context: typer.Context, options: Iterable[str], reason: str) -> None:
    """Refuse options that would do nothing.

    Args:
        context: of the command.
        options: names of its parameters.
        reason: why they mean nothing here.

    Raises:
        ValueError: one of them stands on the command line.
    """
    idle = [name for name in options if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    if idle:
        raise ValueError(f"{', '.join('--' + name.replace('_', '-') for name in idle)}: {reason}; leave it out")


def parse_range(text: str) -> tuple[int, int]:
    """`2-8`, or `4` for 4-4. Raises ValueError."""
    low, _, high = text.partition("-")
    try:
        return int(low), int(high or low)
    except ValueError:
        raise ValueError(f"range {text!r} is not of the form LOW-HIGH: for example 2-8") from None


def parse_numbers(text: str) -> tuple[int, ...]:
    """`2-4,7` as (2, 3, 4, 7), numbers below 1,000. Raises ValueError."""
    numbers: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        try:
            first, last = int(low), int(high or low)
            if not 0 <= first <= last < 1000:
                raise ValueError
        except ValueError:
            raise ValueError(f"{text!r} is no list of whole numbers below 1,000: for example 42,168 or 2-18") from None
        numbers += range(first, last + 1)
    return tuple(numbers)


def parse_device(device: str, gpu: bool) -> str:
    """`--device` and `--gpu` as one name. Raises ValueError where they contradict each other."""
    if gpu and device == "cpu":
        raise ValueError("--gpu and --device cpu contradict each other: drop one")
    return "cuda" if gpu and device == "auto" else device


def read_preset(name: str) -> Preset:
    """A preset by its name, or from a JSON file of a preset or of a recipe (then with its formula's usual codes).

    Raises:
        ValueError: there is no such preset, or the file holds neither.
        OSError: the file cannot be read.
    """
    from fracgen.recipes.presets import preset
    from fracgen.recipes.recipe import Preset, Recipe
    from fracgen.support.decode import read_json

    if not name.endswith(".json"):
        return preset(name)
    try:
        data = read_json(name)
    except ValueError as error:
        raise ValueError(f"{error}: give a recipe as Recipe.to_json makes it") from None
    try:
        if "recipe" in data:
            return Preset.from_json(data)
        recipe = Recipe.from_json(data)
        codes = preset("paper" if recipe.formula == "ifs" else recipe.formula).bank
        return Preset(recipe.name, "", codes, recipe)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
