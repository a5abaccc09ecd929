"""Rankings by the places of promoted articles, from history.csv."""

import numpy as np
import pandas as pd
import pytest
from support import finished
from support.finished import PROMOTED

from rec_trak.attribution.job import Run, read_job
from rec_trak.config.analysis import read_analysis_config
from rec_trak.detection.baselines import holds
from rec_trak.detection.places import INFLUENCE, LEVERAGE, place_rankings
from rec_trak.detection.run import detect_run
from rec_trak.errors import DataError
from rec_trak.results.files import read_results
from rec_trak.runs.finished import open_run
from rec_trak.runs.making import score_history
from rec_trak.runs.stored import times_root_q


@pytest.fixture
def scored_places(tmp_path):
    """A finished run with history.csv of the promoted article: folder of the targets, rows, the article's position."""
    folder = finished.finished_run(tmp_path)
    run = Run(read_analysis_config(tmp_path / "trak.yaml"), "train_clean", "clean")
    score_history(run, read_job(run), str(tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv"), [PROMOTED])
    log = open_run(folder).click_log()
    return folder / "targets" / "benchmark_mixed", log, log.articles.position[PROMOTED]


def test_rows_have_the_value_of_their_place(scored_places):
    """Zero for rows without the article, the file's numbers for the others."""
    folder, log, promoted = scored_places
    rankings, notes = place_rankings(folder / "history.csv", log, [promoted])
    table = pd.read_csv(folder / "history.csv").set_index("sample_idx")
    read = holds(log.rows.history, [promoted])
    assert notes == []
    assert read.sum() == len(table) > 0
    for name, column in ((LEVERAGE, "leverage"), (INFLUENCE, "influence")):
        assert (rankings[name][~read] == 0).all()
        np.testing.assert_allclose(rankings[name][table.index], table[column])


def test_of_two_places_the_one_of_larger_leverage(scored_places):
    """A row that holds the article twice counts once."""
    folder, log, promoted = scored_places
    table = pd.read_csv(folder / "history.csv")
    twice = pd.concat([table.iloc[:1].assign(leverage=99.0, influence=-7.0), table])
    twice.to_csv(folder / "history.csv", index=False)
    rankings, _ = place_rankings(folder / "history.csv", log, [promoted])
    row = table["sample_idx"].iloc[0]
    assert (rankings[LEVERAGE][row], rankings[INFLUENCE][row]) == (99, -7)


def test_they_stand_among_the_rankings(scored_places):
    """As attribution, in every question; without the file a note says what to run."""
    folder, _, _ = scored_places
    keys = {"promoted": [PROMOTED], "top_k": 3, "draws": 5}
    found = detect_run(folder.parents[1], **keys)
    assert found["kinds"][LEVERAGE] == found["kinds"][INFLUENCE] == "attribution"
    (folder / "history.csv").unlink()
    found = detect_run(folder.parents[1], **keys)
    assert LEVERAGE not in found["kinds"]
    assert any("score.py --history tells" in note for note in found["notes"])


def test_rows_that_are_not_in_the_file_are_counted(scored_places):
    """They stay 0, and a note says how many."""
    folder, log, promoted = scored_places
    pd.read_csv(folder / "history.csv").iloc[1:].to_csv(folder / "history.csv", index=False)
    _, notes = place_rankings(folder / "history.csv", log, [promoted])
    assert notes[0].startswith("1 row(s) whose model reads a promoted article are not in history.csv")


def test_nothing_to_say_where_nobody_has_read_it(scored_places):
    """No ranking and no note."""
    folder, log, _ = scored_places
    unread = next(a for a in range(99) if not holds(log.rows.history, [a]).any())
    assert place_rankings(folder / "history.csv", log, [unread]) == ({}, [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.drop(columns="leverage"), "no column leverage"),
        (lambda table: table.assign(leverage="much"), "cannot be read"),
        (lambda table: table.assign(sample_idx=999), "not the places of these rows"),
    ],
)
def test_another_file_is_refused(scored_places, change, words):
    """The message says what is wrong and what to run."""
    folder, log, promoted = scored_places
    change(pd.read_csv(folder / "history.csv")).to_csv(folder / "history.csv", index=False)
    with pytest.raises(DataError, match=words):
        place_rankings(folder / "history.csv", log, [promoted])


def test_root_q_is_of_the_impression(tmp_path):
    """Q adds up over an impression's rows before the root is taken."""
    results = read_results(finished.finished_run(tmp_path))
    stored = open_run(results.folder).stored()
    q = results.rows["q"].astype(float).to_numpy()
    np.testing.assert_allclose(times_root_q(np.full(24, -2.0), stored), -2 * np.sqrt(q), rtol=1e-5)
