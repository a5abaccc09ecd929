"""Rank every training click by its influence on itself or on a set of targets, or explain one row's influence."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("score")
