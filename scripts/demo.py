"""The whole job on a made-up news platform with planted poison, in under three minutes."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("demo")
