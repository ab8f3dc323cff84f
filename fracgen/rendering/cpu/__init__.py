"""The Numba renderer: the bytes of the CUDA kernels, without a GPU."""
