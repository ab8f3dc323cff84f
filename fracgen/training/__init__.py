"""Pre-training: from batches of fractal images to weights.

config (what is trained, and where) -> run (all checks) -> loop (steps, with losses, checkpoints and a log in the run's
folder) -> export (weights that timm and torchvision load, with a model card).
"""
