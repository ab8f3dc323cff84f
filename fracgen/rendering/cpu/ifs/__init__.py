"""Stages that draw attractors of iterated function systems; twins of `kernels/ifs`."""
