"""Families of pictures: a folder each, with the parameters of its classes."""
