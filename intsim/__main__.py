"""`python -m intsim` is the command `intsim`."""

from intsim.cli import main

main()
