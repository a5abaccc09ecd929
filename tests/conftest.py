"""What every test may use: the folder of shared real data, one torch thread, a fixed seed, its own token cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from rec_trak.locks import set_waiting
from rec_trak.results.cells import set_spreadsheet_safe

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data (REC_TRAK_SHARED, else ../shared); the test is skipped where there is none."""
    folder = Path(os.environ.get("REC_TRAK_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set REC_TRAK_SHARED")
    return folder


@pytest.fixture(scope="session")
def scored(tmp_path_factory) -> Path:
    """A tiny run of two members with a scored target set, for tests of validation, which copy it."""
    from support import validated

    folder = tmp_path_factory.mktemp("scored")
    validated.make_run(folder)
    return folder


@pytest.fixture(autouse=True)
def _one_thread_and_seed(monkeypatch, tmp_path_factory):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.setenv("REC_TRAK_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    yield
    set_spreadsheet_safe(False)  # a command of this test may have asked for these, and others' fixtures did not
    set_waiting(False)
