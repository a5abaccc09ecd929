"""A model of a few known rows: judged on rows it was not shown, taken only where it is better."""

import numpy as np
import pandas as pd
import pytest
from support import finished
from support.commands import call
from support.finished import PROMOTED

from rec_trak.detection import known
from rec_trak.detection.known import learn, read_known
from rec_trak.detection.metrics import detect
from rec_trak.errors import DataError


def world(n=400, seed=0):
    """Rows half of which are in question; `good` tells the injected ones, `rule` does not, `noise` neither."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.4).astype(int)
    signals = {"good": labels + rng.normal(0, 0.7, n), "noise": rng.random(n)}
    return signals, np.arange(n) % 2 == 0, rng.random(n), labels


def test_a_signal_that_tells_is_found_and_used():
    """The model's order on rows nobody labelled is better than the rule's, and its told figure is near the truth."""
    signals, among, rule, labels = world()
    rows = np.arange(0, 160)
    found = learn(signals, among, rule, rows, labels[rows])
    assert found.key is not None
    assert found.told.endswith("its order is taken.")
    unseen = among & (np.arange(400) >= 160)
    true = detect(found.key, labels, 1, unseen).auroc
    told = float(found.told.split("AUROC of ")[1].split(" ")[0])
    assert true > detect(rule, labels, 1, unseen).auroc + 0.2
    assert told == pytest.approx(true, abs=0.12)


def test_a_figure_of_noise_is_no_better_than_chance():
    """Signals that say nothing, many of them: cross-validation says so, where the fit itself would say much."""
    rng = np.random.default_rng(1)
    signals = {f"noise {i}": rng.random(60) for i in range(12)}
    labels = (np.arange(60) % 2).astype(int)
    found = learn(signals, np.ones(60, dtype=bool), labels + rng.random(60) * 0.5, np.arange(60), labels)
    assert found.key is None
    assert found.told.endswith("the fixed rule stays.")
    assert float(found.told.split("AUROC of ")[1].split(" ")[0]) < 0.7


def test_too_few_are_told():
    """Fewer than the least of either kind in question, whatever stands elsewhere: nothing is learnt."""
    signals, among, rule, labels = world()
    rows = np.flatnonzero(~among)[:100]
    found = learn(signals, among, rule, rows, labels[rows])
    assert found.key is None
    assert found.told.startswith("Known rows: 0 injected and 0 genuine known rows are in question, too few")


def test_the_file(tmp_path):
    """Row numbers and labels; another label, a missing column and a number that is no row's are refused."""
    path = tmp_path / "known.csv"
    path.write_text("sample_idx,poisoned\n3,1\n0,0\n", encoding="utf-8")
    rows, labels = read_known(path, 5, "poisoned")
    assert (rows.tolist(), labels.tolist()) == ([3, 0], [1, 0])
    path.write_text("sample_idx,poisoned\n3,maybe\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"known.csv: `poisoned` of row 3 is wrong \(1 such\). Got 'maybe', expected 1"):
        read_known(path, 5, "poisoned")
    path.write_text("sample_idx\n3\n", encoding="utf-8")
    with pytest.raises(DataError, match="poisoned"):
        read_known(path, 5, "poisoned")
    with pytest.raises(DataError, match="not the number of a row.*Got '3', expected 0 to 1"):
        read_known(path, 2, "poisoned")


def test_the_command_says_what_known_rows_gave(tmp_path, monkeypatch):
    """Too few of a tiny run; with a lower bound the order is the model's where it does better, and says so."""
    folder = finished.finished_run(tmp_path)
    rows = pd.read_csv(folder / "rows.csv")
    asked = rows[rows["article_id"] == PROMOTED]["sample_idx"].to_numpy()
    path = tmp_path / "known.csv"
    pd.DataFrame({"sample_idx": asked, "poisoned": np.arange(len(asked)) % 2}).to_csv(path, index=False)
    flags = ("detect", "--results_dir", folder, "--promoted", PROMOTED, "--top_k", 3, "--known", path)
    out = call(*flags).stdout
    assert "too few to learn from (at least 10 of each are needed); the fixed rule stays." in out
    monkeypatch.setattr(known, "LEAST", 1)
    monkeypatch.setattr(known, "FOLDS", 2)
    result = call(*flags)
    taken = "its order is taken." in result.stdout
    assert taken or "the fixed rule stays." in result.stdout, result.stderr
    assert ("known_rows" in pd.read_csv(folder / "suspicion.csv").columns) == taken
