"""Work as jobs under SLURM: what is asked of it, what was submitted, and what became of that."""
