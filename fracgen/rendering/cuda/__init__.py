"""The CUDA renderer: compile the kernels, launch them, hand out torch tensors."""
