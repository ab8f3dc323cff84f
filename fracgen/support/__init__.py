"""Used by all parts: errors, files, provenance, the terminal."""
