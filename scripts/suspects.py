"""Which articles may be promoted: articles whose clickers are not their readers, from a click log alone."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("suspects")
