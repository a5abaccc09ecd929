"""Systems that do not fit into memory are refused wherever one is solved, with the figures."""

import re

import numpy as np
import pytest
from support import finished

from rec_trak import room
from rec_trak.comparison.run import compare_runs
from rec_trak.detection.run import detect_run
from rec_trak.errors import RoomError
from rec_trak.scoring import memory
from rec_trak.scoring.memory import scoring_memory
from rec_trak.scoring.solve import gram
from rec_trak.trust.run import trust_run

TOLD = r"scoring with K = 16: not enough memory. Got 14.33 kB available, expected 14.34 kB.*set a smaller `proj_dim`"
pytestmark = pytest.mark.filterwarnings("ignore:.*the model was trained with 'softmax'")


@pytest.fixture
def short(monkeypatch):
    """A machine that lacks one byte for K = 16, and a program that asks for little too."""
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(room, "available_memory", lambda: scoring_memory(16) - 1)


def test_memory_grows_with_k_alone():
    """Seven systems: 8 TB each for K = 1,000,000."""
    assert scoring_memory(10**6) == 7 * 8 * 10**12
    assert scoring_memory(32) == 4 * scoring_memory(16)


def test_nothing_is_solved_that_does_not_fit(short):
    """Phi'Phi comes first and is refused; one bucket less fits."""
    phi = np.ones((3, 16), dtype=np.float32)
    with pytest.raises(RoomError, match=TOLD):
        gram(phi)
    assert gram(phi[:, :15]).shape == (15, 15)


def test_commands_on_a_finished_run_say_so(tmp_path, short, monkeypatch):
    """trust and detect end with the line; compare, which stands without a band, gives it as the reason."""
    with monkeypatch.context() as patch:
        patch.setattr(room, "available_memory", lambda: None)
        folder = finished.finished_run(tmp_path, members=2)
    with pytest.raises(RoomError, match=TOLD):
        trust_run(folder)
    with pytest.raises(RoomError, match=TOLD):
        detect_run(folder, promoted=[finished.PROMOTED], draws=5)
    reason = compare_runs(folder, folder).stats["comparison"]["null_band"]["reason"]
    assert re.search(TOLD, reason)
