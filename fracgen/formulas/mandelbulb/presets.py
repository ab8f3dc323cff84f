"""The presets of `mandelbulb`, and what they follow."""

from __future__ import annotations

from fracgen.formulas.mandelbulb import VariationSpec
from fracgen.recipes.recipe import Preset, Recipe

PRESETS = (
    Preset(
        "mandelbulb",
        "MandelbulbVAR-1k of Chiche et al., 'Pre-training Vision Models with Mandelbulb Variations' (CVPR 2024): "
        "powers 2 to 18 under 61 rules, 1,037 classes, one solid per image seen from a random direction in three "
        "random colours, on white, two by two rays per pixel. They render files of 512 px through OpenGL, with shadow "
        "rays of up to 10,000 steps, and downsample them with a Lanczos filter; here steps are fewer and longer, the "
        "filter is a mean and the size is that of the other recipes.",
        VariationSpec(),
        Recipe("mandelbulb", formula="mandelbulb", samples=2, background="white", blur_probability=0.0),
    ),
    Preset(
        "multi-mandelbulb",
        "The multi-Mandelbulbs that the paper's authors report beside multi-formula images: scenes shown whole, with "
        "Mandelbulb variations in place of attractors, 4 to 10 views of one variation, each from its own direction and "
        "in its own colours, each composited over those before it by its coverage. Their generator pastes stored "
        "pictures of several variations a class, with their white made black, into scenes of 512 px, and does not "
        "blur.",
        VariationSpec(),
        Recipe(
            "multi-mandelbulb", canvas=128, formula="mandelbulb", samples=2, background="black", objects=(4, 10),
            source="class", mean=(0.2,) * 3, std=(0.5,) * 3,
        ),
    ),
)  # fmt: skip
