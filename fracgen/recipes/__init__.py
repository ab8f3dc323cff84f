"""How images are made from codes: recipes, and the named presets."""
