"""Small worlds, models and finished runs that tests share. Not here: tests."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
