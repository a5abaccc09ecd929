"""Every file of a results folder and its save directory: good, damaged, foreign or missing."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("verify")
