"""Compare two finished runs, clean against poisoned: rows matched by identity, ranks instead of raw scores."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("compare")
