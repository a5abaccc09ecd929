"""`python -m rec_trak COMMAND`: the same as `rec-trak COMMAND`. Not here: anything else."""

from rec_trak.cli import main

main()
