"""Options of commands: made of the fields of dataclasses, and what several commands read from them."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar, get_args, get_origin, get_type_hints

import typer

from fracgen.slurm.options import SlurmOptions
from fracgen.support.decode import read_json
from fracgen.support.options import Option
from fracgen.support.provenance import need
from fracgen.support.terminal import say

if TYPE_CHECKING:
    from fracgen.recipes.recipe import Preset, Recipe

T = TypeVar("T")

Device = Annotated[str, typer.Option(help="auto, cpu or cuda; `--gpu` is short for the last.")]
Bank = Annotated[Path, typer.Argument(help="File of a code bank.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Given:
    """Marks a dictionary as the fields of a dataclass that the command line sets; the rest is decided elsewhere."""
    kind: type[object]


def with_options(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command an option for each described field of the dataclasses among its arguments.

    A field is described by a text or an `Option` in its `Annotated` type. An argument or a field may be a dataclass, of
    which an instance is made, or a dictionary marked as `Given`. Other arguments are Typer's.
    """
    parts: dict[str, _Part] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        part = _part(parameter.annotation)
        if part is None:
            parameters.append(parameter)
        else:
            parts[parameter.name] = part
            parameters += part.parameters()

    @functools.wraps(command)
    def run(**values: object) -> T:
        made = {name: part.take(values) for name, part in parts.items()}
        return command(**values, **made)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


class _Part:
    """A dataclass among the arguments of a command, or in another.

    Args:
        kind: the dataclass.
        whole: make an instance, rather than a dictionary of the fields that were given.
    """
    def __init__(self, kind: type[object], whole: bool) -> None:
        self.kind, self.whole = kind, whole
        self.options: dict[str, tuple[object, Option]] = {}
        self.parts: dict[str, _Part] = {}
        self.defaults: dict[str, object] = {}
        hints = get_type_hints(kind, include_extras=True)
        for one in dataclasses.fields(kind):  # type: ignore[arg-type]
            part, option = _part(hints[one.name]), _option(hints[one.name])
            if option is not None:
                self.options[one.name] = get_args(hints[one.name])[0], option
                self.defaults[one.name] = None if one.default_factory is not MISSING else one.default
            elif part is not None and part.parameters():
                self.parts[one.name] = part

    def parameters(self) -> list[inspect.Parameter]:
        """The options, as parameters for Typer."""
        own = [self._parameter(name, kind, option) for name, (kind, option) in self.options.items()]
        return own + [parameter for part in self.parts.values() for parameter in part.parameters()]

    def take(self, values: dict[str, object]) -> object:
        """Make the dataclass or dictionary of values by option, which are removed. Raises ValueError."""
        found: dict[str, object] = {}
        for name, (kind, option) in self.options.items():
            value = values.pop(name)
            if value is None or value == []:
                continue
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            if choices and value not in choices:
                raise ValueError(f"unknown {name.replace('_', ' ')} {value!r}: use one of {', '.join(choices)}")
            value = value if option.parse is None else option.parse(value)
            found[name] = tuple(value) if isinstance(value, list) and get_origin(kind) is tuple else value
        found |= {name: part.take(values) for name, part in self.parts.items()}
        return self.kind(**found) if self.whole else found

    def _parameter(self, name: str, kind: object, option: Option) -> inspect.Parameter:
        default, names = self.defaults[name], option.names
        text = option.parse is not None or get_origin(kind) is tuple
        shown: str | bool = default not in (None, MISSING, "") and not text
        choices = "|".join(get_args(kind)) if get_origin(kind) is Literal else None
        if choices:
            kind = str
        if text:
            kind = list[str] if option.repeated or (get_origin(kind) is tuple and option.parse is None) else str
        if default is MISSING and self.whole:
            default = ...
        elif text or not self.whole:
            shown = str(default) if shown else False
            default, kind = None, kind | None  # type: ignore[operator]
        elif default is False:
            names = names or (f"--{name.replace('_', '-')}",)
        about, told = option.help, option.default or shown
        if isinstance(told, str):  # Typer would put it in parentheses
            about, told = f"{about}  [default: {told}]", False
        info = typer.Option(default, *names, help=about, metavar=choices, show_default=told)
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=kind)


def _part(hint: object) -> _Part | None:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return _Part(hint, whole=True)
    return next((_Part(note.kind, whole=False) for note in _notes(hint) if isinstance(note, Given)), None)


def _option(hint: object) -> Option | None:
    notes = (Option(note) if isinstance(note, str) else note for note in _notes(hint))
    return next((note for note in notes if isinstance(note, Option)), None)


def _notes(hint: object) -> Iterator[object]:
    yield from get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def refuse_given(context: typer.Context, fields: Iterable[str], reason: str) -> None:
    """Refuse options that would do nothing.

    Args:
        context: of the command.
        fields: names of its parameters.
        reason: why they mean nothing here.

    Raises:
        ValueError: one of them stands on the command line.
    """
    given = {name for name in fields if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}
    if given:
        idle = [max(one.opts, key=len) for one in context.command.params if one.name in given]
        raise ValueError(f"{', '.join(idle)}: {reason}; leave it out")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Options of the commands that can run as jobs under SLURM."""
    executor: Annotated[Literal["local", "slurm"], "local: on this machine; slurm: as jobs of a cluster."] = "local"
    detach: Annotated[bool, "SLURM: submit and return; the same command attaches."] = False
    resources: Annotated[dict[str, object], Given(SlurmOptions)] = field(default_factory=dict)

    def options(self, context: typer.Context, also: Iterable[str] = (), **further: object) -> SlurmOptions | None:
        """Resources of the jobs; None if the work is done on this machine.

        Args:
            context: of the command.
            also: further parameters of the command that mean nothing without SLURM.
            further: fields of `SlurmOptions` that the options do not set.

        Raises:
            ValueError: an option is out of range or does nothing here, or the extra is not installed.
        """

        if self.executor == "local":
            idle = ("detach", *(one.name for one in dataclasses.fields(SlurmOptions)), *also)
            refuse_given(context, idle, "it is for --executor slurm")
            return None
        need("slurm")
        return make(SlurmOptions, {k: v for k, v in further.items() if v is not None} | self.resources)


def make(kind: type[T], values: Mapping[str, object]) -> T:
    """A dataclass of values by field; what was decoded or parsed has their types."""
    return kind(**values)


def read_preset(name: str) -> Preset:
    """A preset by its name, or from a JSON file of a preset or of a recipe (then with its formula's usual codes).

    Raises:
        ValueError: there is no such preset, or the file holds neither.
        OSError: the file cannot be read.
    """
    from fracgen.formulas.formula import formula
    from fracgen.recipes.presets import preset
    from fracgen.recipes.recipe import Preset, Recipe

    if not name.endswith(".json"):
        return preset(name)
    try:
        data = read_json(name)
    except ValueError as error:
        raise ValueError(f"{error}: give a recipe as Recipe.to_json makes it") from None
    try:
        if "recipe" in data:
            given = Preset.from_json(data)
        else:
            recipe = Recipe.from_json(data)
            given = Preset(recipe.name, "", formula(recipe.formula).presets[0].bank, recipe)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    say_version(name, given.recipe)
    return given


def say_version(where: str, recipe: Recipe) -> None:
    """Say where a recipe is of the version that promised nothing, which another release may have drawn otherwise."""
    from fracgen.recipes.recipe import RENDER_VERSION, UNPROMISED

    if recipe.render_version == UNPROMISED:
        say(f"{where}: render_version {UNPROMISED} promised nothing: it is drawn as version {RENDER_VERSION}, and the "
            "release that wrote this may have drawn other pictures")  # fmt: skip
