"""Write CSV, figures and tables again from a finished run, and a page that tells what it found (report.html)."""

from rec_trak.cli import main

if __name__ == "__main__":
    main("report")
