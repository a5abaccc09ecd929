"""How well a finished run's rankings find rows that are known to be poisoned, next to baselines, with intervals."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("detect")
