"""Which clicks on an article look injected; where poisoned rows are known, how well each ranking finds them."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("detect")
