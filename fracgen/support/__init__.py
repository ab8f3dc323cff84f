"""What every part needs and none owns: errors, files, provenance, the terminal."""
