"""Check a scored target set by retraining: do the rows that its ranking names do what it says?"""

from rec_trak.cli import main

if __name__ == "__main__":
    main("validate")
