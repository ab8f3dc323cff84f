"""Render on the device that was asked for: the one place where a backend is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fracgen.draws import Stream
from fracgen.support.errors import DeviceError, warn

if TYPE_CHECKING:
    import torch

    from fracgen.formulas.files import Bank
    from fracgen.recipes.recipe import Recipe
    from fracgen.rendering.base import Index, Renderer


def make_renderer(
    bank: Bank, recipe: Recipe | str = "paper", device: torch.device | str = "auto", *, threads: int | None = None
) -> Renderer:
    """The renderer of a recipe on a device.

    Args:
        bank: the codes.
        recipe: a `Recipe`, or the name of a preset, whose recipe is taken.
        device: "cpu", "cuda", "cuda:1", a `torch.device`, or "auto": the GPU if one is usable,
            else the CPU with one line on stderr that says why.
        threads: CPU only; default: one for every CPU this process may use.

    Raises:
        ValueError: the recipe or the device has no such name, or the recipe draws another formula than
            the bank's.
        DeviceError: a GPU was asked for and is not usable.

    >>> from fracgen import CodeBank, preset
    >>> renderer = make_renderer(CodeBank.sample(10), preset("paper").recipe.at_size(32), "cpu")
    >>> batch = renderer.render([0, 7], seed=3, masks=True)
    >>> batch.images.shape, batch.codes.tolist(), batch.numpy().masks.shape
    (torch.Size([2, 3, 32, 32]), [[0], [7]], (2, 32, 32))
    """
    from fracgen.recipes.presets import preset

    if isinstance(recipe, str):
        recipe = preset(recipe).recipe
    name = str(device)
    if name == "auto":
        from fracgen.formulas.formula import formula
        from fracgen.rendering.device import use_gpu

        name = "cuda" if formula(recipe.formula).has_kernels and use_gpu("auto", "rendering") else "cpu"
    if name == "cpu":
        from fracgen.rendering.cpu.renderer import CpuRenderer

        return CpuRenderer(bank, recipe, threads)
    if name == "cuda" or name.startswith("cuda:"):
        from fracgen.rendering.device import cuda_fault

        if fault := cuda_fault():
            raise DeviceError(f"no usable GPU: {fault}")
        from fracgen.rendering.cuda.renderer import CudaRenderer

        cuda: Renderer = CudaRenderer(bank, recipe, name)
        return cuda
    raise ValueError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N")


def render(
    bank: Bank,
    recipe: Recipe | str = "paper",
    index: Index | None = None,
    *,
    seed: int = 0,
    epoch: int = 0,
    stream: int = Stream.TRAIN,
    dtype: torch.dtype | str = "uint8",
    normalize: bool = True,
    device: torch.device | str = "auto",
) -> torch.Tensor:
    """Render samples of an epoch: a pure function of all arguments but `device`.

    Every call makes a renderer of its own: to render more than once, keep one of `make_renderer`.

    Args:
        bank: the codes.
        recipe: a `Recipe`, or the name of a preset, whose recipe is taken.
        index: whole numbers in [0, 2^32): sample i has class i mod C, code (i div C) mod K.
        seed, epoch, stream, dtype, normalize: see `Renderer.render`.
        device: see `make_renderer`.

    Returns:
        [B, 3, size, size] RGB on the device, or [B, 2, 3, size, size] for a recipe of pairs; uint8, or of `dtype`.

    Raises:
        ValueError: an argument is out of range.
        DeviceError: a GPU was asked for and is not usable.

    >>> from fracgen import CodeBank, preset
    >>> images = render(CodeBank.sample(10), preset("paper").recipe.at_size(32), range(4), device="cpu")
    >>> images.shape, images.dtype
    (torch.Size([4, 3, 32, 32]), torch.uint8)
    """
    from fracgen.recipes.recipe import Recipe

    if not isinstance(recipe, (Recipe, str)):
        warn("render(bank, index, recipe)", "render(bank, recipe, index)", depth=3)
        recipe, index = ("paper" if index is None else index), recipe
    if index is None:
        raise TypeError("render() needs the numbers of the samples: render(bank, recipe, index)")
    made = make_renderer(bank, recipe, device)
    return made.render(index, seed=seed, epoch=epoch, stream=stream, dtype=dtype, normalize=normalize).images
