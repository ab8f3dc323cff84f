"""The presets of `ifs`, and what they follow."""

from __future__ import annotations

from fracgen.formulas.ifs import BankSpec
from fracgen.recipes.recipe import Preset, Recipe

PRESETS = (
    Preset(
        "paper",
        "The paper's default (section 4): 100,000 codes of 2 to 8 maps in 1,000 classes, one attractor of 100,000 "
        "points on a coloured noise background at 256 px, as in the default generator of Anderson and Farrell "
        "(WACV 2022) that it builds on. It corrects that generator's defects: N reaches 8, the blur "
        "has the given probability, no stamp is empty, every pixel is equally wide, and nothing is cached "
        "between images. Its hues count 1..255 rather than 0..255 over the densities, so that 0 can mean background. "
        "Its window is that of 24,576 scouting points, not of the 100,000 drawn ones, and so a little smaller: 0.7% "
        "in the median, 2.6% in the mean, 11% for one attractor in twenty, whose thin tips few points reach.",
        BankSpec(100_000, 1000, (2, 8)),
        Recipe("paper"),
    ),
    Preset(
        "anderson2022",
        "Anderson and Farrell, 'Improving Fractal Pre-training': 1,000 codes of 2 to 4 maps (their command line's "
        "default), each its own class, at 224 px. Their cache of 512 images, shown again under a random affine map "
        "half of the time to spare the CPU, is left out: here every image is new.",
        BankSpec(1000, 1000, (2, 4)),
        Recipe("anderson2022", size=224, canvas=224),
    ),
    Preset(
        "fractal4ad",
        "The paper's authors' later release: 50,000 codes of 2 to 4 maps in 1,000 classes, drawn at 512 px without "
        "stamp or background, and a random 224 px crop normalised with mean 0.2 and deviation 0.5. They store the "
        "512 px images and crop while training; here crop and image are drawn together, so a crop is never "
        "repeated with another's points.",
        BankSpec(50_000, 1000, (2, 4)),
        Recipe("fractal4ad", size=224, canvas=512, stamp=False, background="black", mean=(0.2,) * 3, std=(0.5,) * 3),
    ),
    Preset(
        "fractaldb",
        "After FractalDB (Kataoka et al., ACCV 2020) as Anderson and Farrell's code reproduces it: a grey attractor "
        "on black that fills the window, one coefficient of every map scaled by one of five factors (their weight "
        "0.4: 0.2 to 1.8), stamp and flips, no blur, at 224 px. The codes are sampled as in `paper`, contractive, "
        "unless a FractalDB folder is imported; FractalDB itself searches random codes for a filling rate.",
        BankSpec(1000, 1000, (2, 8)),
        Recipe(
            "fractaldb", size=224, canvas=224, jitter="fractaldb", jitter_strength=0.4, window_shift=0.0,
            window_scale=(1.0, 1.0), color="gray", background="black", blur_probability=0.0,
        ),
    ),
    Preset(
        "multi-formula",
        "The paper's authors' journal follow-up (Fractal and Fractional 2024): 4 to 10 attractors of one class's own "
        "codes, jittered, drawn at 256 px, coloured, flipped, resized (bilinear) to 0.15 to 0.6 of a scene of 512 px, "
        "placed there at random (they may stick out) on black, blurred; an image is a random crop of 224 px, in which "
        "about 3.9 of them are visible, of median side 0.95 of it (none in one image of 85). 50,000 codes of 2 to 4 "
        "maps in 1,000 classes. They store the scenes and crop while training, so that an attractor is seen in several "
        "crops; here every image has a scene of its own, and what lies outside of it is not drawn.",
        BankSpec(50_000, 1000, (2, 4)),
        Recipe(
            "multi-formula", size=224, canvas=256, scene=512, background="black", objects=(4, 10), source="class",
            window_shift=0.0, window_scale=(1.0, 1.0), mean=(0.2,) * 3, std=(0.5,) * 3,
        ),
    ),
    Preset(
        "multi-instance",
        "Anderson and Farrell's multi-instance prediction: 1 to 5 attractors on a noise background, 0.15 to 0.6 of "
        "the side, no jitter, several labels an image. They place attractors from a cache of the last 512; here the "
        "first is of the sample's own code, so that classes stay balanced, and the others are drawn from the whole "
        "bank. Their blur probability, which is inverted, is corrected.",
        BankSpec(1000, 1000, (2, 4)),
        Recipe(
            "multi-instance", size=224, canvas=112, jitter="none", objects=(1, 5), source="bank", window_shift=0.0,
            window_scale=(1.0, 1.0),
        ),
    ),
    Preset(
        "two-view",
        "Anderson and Farrell's self-supervised pairs: one code, jittered in its singular vectors, seen twice with "
        "its own colours, flips, size (0.25 to 1.25 of the side), place, background and blur (sigma 0.5 to 2), and "
        "with one stamp for both. 1,000,000 codes, each its own class. They draw the attractor once, show it in two "
        "samples and re-use backgrounds from a cache; here each view has points and a background of its own.",
        BankSpec(1_000_000, 1_000_000, (2, 4)),
        Recipe(
            "two-view", size=224, canvas=224, jitter="svd", objects=(1, 1), object_size=(0.25, 1.25), views=2,
            blur_sigma=(0.5, 2.0), window_shift=0.0, window_scale=(1.0, 1.0),
        ),
    ),
)  # fmt: skip
