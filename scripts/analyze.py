"""Featurize and score in one go."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("analyze")
