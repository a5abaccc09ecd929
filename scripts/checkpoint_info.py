"""What a checkpoint is: code base, architecture, sizes, what it was trained with. Nothing from the file is run."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("checkpoint_info")
