"""Projected gradients of every training click, for every checkpoint of the run."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("featurize")
