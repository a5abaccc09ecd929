"""Train a checkpoint, or several for an ensemble, that the other scripts can read."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("train")
