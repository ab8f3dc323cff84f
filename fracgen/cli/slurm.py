"""Options of the commands that can run as jobs under SLURM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fracgen.slurm.options import SlurmOptions

EXECUTORS = ("local", "slurm")

Executor = Annotated[str, typer.Option(help="local: this machine; slurm: jobs of a cluster.")]
Detach = Annotated[bool, typer.Option("--detach", help="SLURM: submit and return; the same command attaches.")]
Time = Annotated[str, typer.Option(help="SLURM: a job's limit, as sbatch takes it.")]
Gpus = Annotated[int, typer.Option(help="SLURM: GPUs of a job.", min=0)]
Partition = Annotated[str | None, typer.Option(help="SLURM: where to run.", show_default="the cluster's")]
Memory = Annotated[str | None, typer.Option(help="SLURM: of a job, such as 32G.", show_default="the cluster's")]
Account = Annotated[str | None, typer.Option(help="SLURM: to charge.", show_default="the cluster's")]
Sbatch = Annotated[
    list[str] | None,
    typer.Option(help="SLURM: any further option of sbatch, such as qos=long; may be repeated.", show_default=False),
]

_OPTIONS = ("time", "gpus", "partition", "memory", "account", "sbatch")


def slurm_options(context: typer.Context, also: Sequence[str] = (), **further: Any) -> SlurmOptions | None:
    """What a command asks of SLURM; None where the work is done here.

    Args:
        context: of the command, which has the options above among its parameters (`gpus` is not everywhere).
        also: further parameters of the command that mean nothing without SLURM.
        further: fields of `SlurmOptions`; None leaves one as it is.

    Raises:
        ValueError: an option is out of range or does nothing here, or the extra is not installed.
    """
    from fracgen.cli.options import refuse_given
    from fracgen.slurm.options import SlurmOptions, parse_minutes, parse_sbatch
    from fracgen.support.extras import need

    asked = context.params
    if asked["executor"] not in EXECUTORS:
        raise ValueError(f"unknown executor {asked['executor']!r}: use one of {', '.join(EXECUTORS)}")
    if asked["executor"] == "local":
        refuse_given(context, (*also, *_OPTIONS), "it is for --executor slurm")
        return None
    need("slurm")
    values = {name: asked[name] for name in ("partition", "gpus", "memory", "account") if name in asked} | further
    return SlurmOptions(
        minutes=parse_minutes(asked["time"]), sbatch=parse_sbatch(asked["sbatch"] or []),
        **{name: value for name, value in values.items() if value is not None},
    )  # fmt: skip
