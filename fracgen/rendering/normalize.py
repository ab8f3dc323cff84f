"""From bytes to the numbers a network is fed: (x / 255 - mean) / std, by table.

A byte has 256 values, so normalization is a table of 256 entries a channel, computed once in double precision and
rounded once to the output type. The CPU and the kernels use the same table, so they give the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from fracgen.recipes.recipe import Recipe

SIGNIFICANT_BITS = {"float32": 24, "float16": 11, "bfloat16": 8}


def dtype_name(dtype: torch.dtype | str) -> str:
    """The name of a type that images are made in.

    Args:
        dtype: torch.uint8, float32, float16 or bfloat16, or the name of one.

    Raises:
        ValueError: another type.

    >>> dtype_name("bfloat16")
    'bfloat16'
    """
    name = str(dtype).removeprefix("torch.")
    if name != "uint8" and name not in SIGNIFICANT_BITS:
        raise ValueError(f"dtype {name} is not one that images have: use uint8, {', '.join(SIGNIFICANT_BITS)}")
    return name


def table(recipe: Recipe, dtype: torch.dtype | str, *, normalize: bool = True) -> torch.Tensor:
    """What every byte becomes, per channel.

    Args:
        recipe: whose `mean` and `std` are used.
        dtype: float32, float16 or bfloat16.
        normalize: False gives x / 255, in [0, 1].

    Returns:
        [3, 256] of `dtype`, on the CPU.

    Raises:
        ValueError: another dtype.
    """
    import torch

    name = dtype_name(dtype)
    if name == "uint8":
        raise ValueError("bytes are not looked up in a table: use float32, float16 or bfloat16")
    exact = np.arange(256, dtype=np.float64) / 255.0 * np.ones((3, 1))
    if normalize:
        exact = (exact - np.array(recipe.mean)[:, None]) / np.array(recipe.std)[:, None]
    found: torch.dtype = getattr(torch, name)
    return torch.from_numpy(round_to_bits(exact, SIGNIFICANT_BITS[name])).to(found)


def round_to_bits(x: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    """Round to `bits` significant bits, ties to even.

    Torch converts double to bfloat16 by way of float32, which rounds twice; a number that already
    has few enough bits passes through that unchanged.
    """
    mantissa, exponent = np.frexp(x)
    result: NDArray[np.float64] = np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits)
    return result


def convert(images: torch.Tensor, values: torch.Tensor | None, *, channels_last: bool = False) -> torch.Tensor:
    """Look every byte up in a table, and lay the images out.

    Args:
        images: uint8 [..., 3, H, W].
        values: [3, 256] from `table`, on the images' device; None leaves the bytes as they are.
        channels_last: lay the result out with the channel fastest; its shape stays [..., 3, H, W].

    Returns:
        The table's dtype, the images' shape and device.
    """
    import torch

    shape = images.shape
    planes = images.reshape(-1, *shape[-3:])
    layout = torch.channels_last if channels_last else torch.contiguous_format
    if values is None:
        return planes.contiguous(memory_format=layout).reshape(shape)
    out = torch.empty(planes.shape, dtype=values.dtype, device=images.device, memory_format=layout)
    for channel in range(3):
        if images.device.type == "cpu":
            # NumPy takes bytes as they are; torch would first widen every index to 64 bits. It knows no
            # bfloat16, so the looked-up things are bit patterns.
            bits = torch.int16 if values.element_size() == 2 else torch.int32
            entries = values[channel].view(bits).numpy()
            out[:, channel].copy_(torch.from_numpy(entries[planes[:, channel].numpy()]).view(values.dtype))
        else:
            out[:, channel] = values[channel][planes[:, channel].int()]
    return out.reshape(shape)
