"""Work as jobs under SLURM: resources, submissions, and the states of jobs."""
