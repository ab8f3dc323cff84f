"""What to make of a code: recipes, and the presets that bear a name."""
