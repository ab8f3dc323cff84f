"""`python -m fracgen`: the same as the command `fracgen`."""

from fracgen.cli import main

main()
