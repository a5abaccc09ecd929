"""The training click log again, without the rows that a ranking names, and a log of what was dropped and why."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("clean")
