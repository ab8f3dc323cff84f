"""How the package's smaller networks were made: they learnt to see what the package's ResNet-18 sees.

    python -m bench.distil.train vit_tiny_patch16_224 -o vit.safetensors --pool POOL

Depthwise networks and transformers hardly learn from `twins` itself on a CPU; docs/pretraining.md tells what was tried.
Distillation (Hinton et al., "Distilling the knowledge in a neural network", 2015; of feature maps: Romero et al.,
"FitNets", 2015) gives every place of every picture a target of its own.
"""
