"""Pre-training: from batches of fractal images to weights.

config (what is trained) -> model, objective -> data -> module (Lightning) -> run (the loop, its
folder, its checkpoints) -> export (weights that timm and torchvision load) with a model card.
"""
