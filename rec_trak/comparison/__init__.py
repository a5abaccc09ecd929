"""Two finished runs against each other, clean and poisoned: the rows that stand in both, and how their ranks moved."""

from rec_trak.comparison.match import SHIFT_COLUMNS
from rec_trak.comparison.run import Comparison, compare_runs, write_comparison

__all__ = ["SHIFT_COLUMNS", "Comparison", "compare_runs", "write_comparison"]
