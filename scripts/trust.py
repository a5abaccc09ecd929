"""How far each ranking of a finished run can be trusted, without retraining."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("trust")
