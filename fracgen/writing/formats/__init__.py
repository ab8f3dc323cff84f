"""The formats that images are written in, a module each."""
