"""Batches for JAX without a copy, through DLPack: python examples/jax_dlpack.py

On a GPU the torch tensor and the JAX array are the same memory. Needs `pip install jax` (or jax[cuda13]).
"""

import dataclasses

import jax
import jax.numpy as jnp
import torch

import fracgen

device = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
recipe = dataclasses.replace(fracgen.preset("paper").recipe.at_size(64), background="black", points=20_000)
bank = fracgen.CodeBank.sample(40, seed=0, classes=20)
loader = fracgen.FractalLoader(bank, recipe, batch_size=32, device=device, seed=0, epoch_size=320)


@jax.jit
def channel_means(images: jax.Array) -> jax.Array:
    return jnp.mean(images, axis=(0, 2, 3))


for images, labels in loader:
    x, y = jax.dlpack.from_dlpack(images), jax.dlpack.from_dlpack(labels)
    print(x.shape, x.dtype, channel_means(x), y[:5])
