"""How the package's EfficientNet-Lite0 was made: it learnt to see what the package's ResNet-18 sees.

    python -m bench.distil.pictures --seed 0 -o POOL     # pictures, and the teacher's components of them
    python -m bench.distil.pictures --seed 1 -o POOL     # other pictures of the same components
    python -m bench.distil.train POOL -o lite0.safetensors

Depthwise networks hardly learn from `twins` itself on a CPU; docs/pretraining.md tells what was tried. Distillation
(Hinton et al., "Distilling the knowledge in a neural network", 2015; of feature maps: Romero et al., "FitNets", 2015)
gives every place of every picture a target of its own. The student's stages are narrower than the teacher's, so they
learn the teacher's principal components: those keep distances between patches, which is what memories of patches
compare.
"""

STAGES = ("layer1", "layer2", "layer3", "layer4")
"""Of the teacher, a ResNet-18: strides 4, 8, 16 and 32."""
BLOCKS = (1, 2, 4, 6)
"""Of the student, an EfficientNet-Lite0: its last block of each of those strides."""
WIDTHS = (24, 40, 112, 320)
"""Channels of those blocks, hence how many components of each stage are learnt."""
SIDE = 96
"""Of the pictures, in pixels."""
