"""Two runs against each other: rows matched by identity, ranks among the matched, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rec_trak.comparison import match
from rec_trak.comparison.match import SHIFT_COLUMNS
from rec_trak.comparison.run import Comparison, compare_runs, write_comparison
from rec_trak.errors import DataError

SETTINGS = {"features": {"loss": "softmax", "proj_dim": 8}, "score": {"form": "self_influence", "lambda_rel": 1.0}}
IDENTITIES = [("u1", "h1 h2", "a", 0), ("u1", "h1 h2", "a", 1), ("u2", "", "b", 0), ("u3", "h9", "c", 0)]
CLEAN = dict(zip(IDENTITIES, [0.4, 0.3, 0.2, 0.1], strict=True))
POISONED = dict(zip([*IDENTITIES[:3], ("bot", "h1", "c", 0)], [10.0, 40.0, 20.0, 99.0], strict=True))
LABELS = {"a": 1, "b": 0, "c": -1}


def save_run(
    folder: Path, scores: dict[tuple, float], others: str = "x y", metadata: dict | None = None, **columns
) -> Path:
    """A results folder with one row an identity, in the order of `scores`, and further columns of rows.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = np.array([LABELS[identity[2]] for identity in scores])
    rows = pd.DataFrame(list(scores), columns=["user_id", "history_ids", "article_id", "occurrence"])
    rows["label"] = [{1: "fake", 0: "real", -1: "unknown"}[label] for label in labels.tolist()]
    rows = rows.assign(sample_idx=range(len(rows)), other_candidates=others, source_lines="1", **columns)
    rows.assign(title="Title " + rows["article_id"]).to_csv(folder / "rows.csv", index=False)
    np.save(folder / "trak_scores.npy", np.array(list(scores.values()), dtype=np.float32))
    np.save(folder / "trak_labels.npy", labels)
    (folder / "metadata.json").write_text(json.dumps(SETTINGS if metadata is None else metadata))
    return folder


@pytest.fixture
def compared(tmp_path) -> Comparison:
    poisoned = save_run(tmp_path / "poisoned", POISONED, others="y z")
    return compare_runs(save_run(tmp_path / "clean", CLEAN), poisoned)


def test_planted_shifts(compared):
    """Law: percentiles run from 1 to 100 among the three matched rows, and shift is clean less poisoned."""
    table = compared.table
    assert tuple(table.columns) == SHIFT_COLUMNS
    assert table["clean_sample_idx"].tolist() == [1, 2, 0]
    assert table["poisoned_sample_idx"].tolist() == [1, 2, 0]
    assert table["clean_rank"].tolist() == [50.5, 100, 1]
    assert table["poisoned_rank"].tolist() == [1, 50.5, 100]
    assert table["shift"].tolist() == [49.5, 49.5, -99]
    assert table["other_candidates_differ"].all()
    assert table["title"].tolist() == ["Title a", "Title b", "Title a"]


def test_statistics_keep_the_old_keys_and_count_what_matched(compared):
    """Law: run statistics are over all rows of the run, the comparison over matched rows, all under the old keys."""
    stats = compared.stats
    assert [stats["clean_model"][name] for name in ("n_samples", "n_fake", "n_real")] == [4, 2, 1]
    assert stats["clean_model"]["score_mean"] == pytest.approx(0.25)
    assert stats["poisoned_model"]["score_std"] == pytest.approx(np.std([10, 40, 20, 99]))
    numbers, differences = stats["comparison"], np.array([9.6, 39.7, 19.8])
    assert numbers["score_diff_mean"] == pytest.approx(differences.mean())
    assert numbers["score_diff_std"] == pytest.approx(differences.std())
    assert numbers["correlation"] == pytest.approx(np.corrcoef([0.4, 0.3, 0.2], [10, 40, 20])[0, 1])
    assert numbers["spearman"] == pytest.approx(-0.5)
    counts = ("matched_rows", "unmatched_clean_rows", "unmatched_poisoned_rows", "matched_with_other_candidates")
    assert [numbers[name] for name in counts] == [3, 1, 1, 3]
    assert numbers["rank_shift"]["mean_absolute"] == pytest.approx(66)
    assert numbers["rank_shift"]["by_label"]["real"] == {"n_rows": 1, "mean": 49.5}
    assert [entry["sample_idx"] for entry in numbers["largest_increases"]] == [1, 2, 0]
    assert [entry["sample_idx"] for entry in numbers["largest_decreases"]] == [0, 2, 1]
    assert numbers["largest_increases"][0] == {
        "sample_idx": 1,
        "label": "fake",
        "clean_score": pytest.approx(0.3),
        "poisoned_score": 40.0,
        "diff": pytest.approx(39.7),
        "clean_sample_idx": 1,
        "poisoned_sample_idx": 1,
        "user_id": "u1",
        "article_id": "a",
        "title": "Title a",
    }


def test_summary_says_what_matched(compared):
    """Law: the terminal says how many rows matched, that their negatives differ, which class moved, what is missing."""
    lines = compared.summary()
    assert lines[0] == "3 rows stand in both runs; 1 only in the clean one, 1 only in the poisoned one."
    assert lines[1] == "Only in the clean one: by 1 user, 1 of them not in the poisoned one at all."
    assert lines[2].startswith("Only in the poisoned one: ")
    assert lines[2].endswith("; what was injected is among these.")
    lines = lines[2:]
    assert lines[1].startswith("3 of them have other candidates in the two runs")
    assert lines[2].endswith("by 66.0 percentile points (unrelated rankings: 33.3); rank correlation -0.500.")
    assert lines[3].startswith("What Q and leverage have to do with it cannot be told apart: ")
    assert lines[4:6] == [
        "The 2 matched rows that click a fake article fell by 24.8 percentile points on average.",
        "The 1 matched row that clicks a real article rose by 49.5 percentile points on average.",
    ]
    assert lines[6:] == [
        "No null band: the runs do not name their checkpoints; two of one kind show what another seed does."
    ]


def test_row_order_of_either_run_changes_nothing_but_row_numbers(tmp_path):
    """Law: rows are matched by what they are; permuting a run permutes its row numbers and nothing else."""
    rng = np.random.default_rng(0)
    identities = [(f"u{i % 7}", f"h{i}", "abc"[i % 3], 0) for i in range(40)]
    clean = dict(zip(identities, rng.integers(0, 5, 40).astype(float), strict=True))  # many ties
    poisoned = dict(zip(identities[5:], rng.integers(0, 5, 35).astype(float), strict=True))
    first = compare_runs(save_run(tmp_path / "c", clean), save_run(tmp_path / "p", poisoned))
    shuffled = [dict(list(run.items())[i] for i in rng.permutation(len(run))) for run in (clean, poisoned)]
    orders = (save_run(tmp_path / "c2", shuffled[0]), save_run(tmp_path / "p2", shuffled[1]))
    for folders in ((orders[0], tmp_path / "p"), (tmp_path / "c", orders[1]), orders):
        second = compare_runs(*folders)
        words = [name for name in SHIFT_COLUMNS if not name.endswith("sample_idx")]
        pd.testing.assert_frame_equal(first.table[words], second.table[words])
        assert first.stats["comparison"]["rank_shift"] == second.stats["comparison"]["rank_shift"]
        number = second.table["poisoned_sample_idx"].to_numpy()
        assert np.array_equal(second.poisoned.scores[number], first.table["poisoned_score"].to_numpy())


@pytest.mark.parametrize("at_once", [1, 5])
def test_no_row_is_lost_between_users(tmp_path, monkeypatch, at_once):
    """Law: the table is the same, users looked at one by one or all of them together."""
    identities = [(f"u{i % 7}", f"h{i % 11}", "abc"[i % 3], 0) for i in range(40)]
    clean = {one: float(i % 5) for i, one in enumerate(identities)}
    folders = save_run(tmp_path / "c", clean), save_run(tmp_path / "p", dict(list(clean.items())[5:]))
    whole = compare_runs(*folders).table.whole()
    monkeypatch.setattr(match, "AT_ONCE", at_once)
    pd.testing.assert_frame_equal(compare_runs(*folders).table.whole(), whole)


def test_rows_of_one_run_only_move_nobody(tmp_path):
    """Law: ranks are among matched rows, so further rows in the poisoned run leave every shift as it was."""
    clean, poisoned = save_run(tmp_path / "c", CLEAN), dict(POISONED)
    before = compare_runs(clean, save_run(tmp_path / "p", poisoned)).table.whole()
    poisoned |= {(f"bot {i}", "", "c", 0): 1000.0 + i for i in range(50)}
    pd.testing.assert_frame_equal(compare_runs(clean, save_run(tmp_path / "p2", poisoned)).table.whole(), before)


def test_a_run_against_itself_has_no_shift(tmp_path):
    """Law: equal runs agree perfectly, and constant scores have no correlation rather than NaN."""
    run = save_run(tmp_path / "c", CLEAN)
    same = compare_runs(run, run)
    assert same.table["shift"].tolist() == [0] * 4
    assert same.stats["comparison"]["spearman"] == pytest.approx(1)
    assert same.stats["comparison"]["matched_with_other_candidates"] == 0
    flat = save_run(tmp_path / "flat", dict.fromkeys(CLEAN, 0.5))
    numbers = compare_runs(flat, run).stats["comparison"]
    assert numbers["correlation"] is numbers["spearman"] is None
    assert all("rank correlation" not in line for line in compare_runs(flat, run).summary())


def test_files_written(compared, tmp_path):
    """Law: the three files stand in the output folder, numbers finite, the table sorted by shift."""
    paths = write_comparison(compared, tmp_path / "out" / "deep")
    assert [path.name for path in paths] == ["model_comparison.png", "rank_shift.csv", "comparison_stats.json"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    table = pd.read_csv(paths[1])
    assert tuple(table.columns) == SHIFT_COLUMNS
    assert table["shift"].is_monotonic_decreasing
    assert table["beyond_null"].isna().all()
    content = json.loads(paths[2].read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert content["comparison"]["matched_rows"] == 3


Q = {"clean": [0.9, 0.5, 0.1, 0.2], "poisoned": [0.1, 0.5, 0.9, 0.3]}
LEVERAGE = {"clean": [0.1, 0.2, 0.3, 0.4], "poisoned": [0.2, 0.4, 0.6, 0.8]}


def test_q_and_leverage_shift_apart(tmp_path):
    """Law: Q turned round and leverage doubled shift ranks by Q by 99, 0, -99 and ranks by leverage by nothing."""
    clean = save_run(tmp_path / "c", CLEAN, q=Q["clean"], leverage=LEVERAGE["clean"])
    compared = compare_runs(clean, save_run(tmp_path / "p", POISONED, q=Q["poisoned"], leverage=LEVERAGE["poisoned"]))
    table = compared.table.whole().sort_values("clean_sample_idx")
    assert table["clean_q"].tolist() == Q["clean"][:3]
    assert table["poisoned_leverage"].tolist() == LEVERAGE["poisoned"][:3]
    assert table["q_shift"].tolist() == [-99, 0, 99]
    assert table["leverage_shift"].tolist() == [0, 0, 0]
    parts = compared.stats["comparison"]["parts"]
    assert parts["reason"] is None
    assert parts["q"]["mean_absolute"] == pytest.approx(66)
    shifts = pd.Series([-99, 49.5, 49.5]).rank(), pd.Series([-99, 0, 99]).rank()
    assert parts["q"]["spearman_with_shift"] == pytest.approx(np.corrcoef(*shifts)[0, 1])
    assert parts["q"]["by_label"] == {"fake": {"n_rows": 2, "mean": -49.5}, "real": {"n_rows": 1, "mean": 99}}
    assert parts["leverage"]["mean_absolute"] == 0
    assert parts["leverage"]["spearman_with_shift"] is None
    lines = compared.summary()[2:]
    assert lines[2] == (
        "A ranking by Q alone changes by 66.0 (rank correlation with the shift 0.87), one by leverage alone by 0.0."
    )
    assert lines[3].endswith(
        "fell by 24.8 percentile points on average (by Q alone fell by 49.5, by leverage alone stayed)."
    )


def test_runs_that_do_not_tell_q_are_compared_without(tmp_path):
    """Law: what one run does not tell is said to be missing, with its file; the rest is given, nothing made up."""
    clean = save_run(tmp_path / "c", CLEAN, leverage=LEVERAGE["clean"])
    compared = compare_runs(clean, save_run(tmp_path / "p", POISONED, q=Q["poisoned"], leverage=LEVERAGE["poisoned"]))
    parts = compared.stats["comparison"]["parts"]
    assert parts["reason"] == f"{clean / 'rows.csv'}: no column `q`."
    assert "q" not in parts
    assert parts["leverage"]["mean_absolute"] == 0
    assert compared.table[["clean_q", "q_shift"]].isna().all(axis=None)
    assert compared.table["poisoned_q"].notna().all()
    assert any(line.endswith(f"told apart: {parts['reason']} Score again.") for line in compared.summary())


def test_a_q_that_is_no_number_is_refused(tmp_path):
    """Law: a damaged column is no ranking."""
    clean = save_run(tmp_path / "c", CLEAN, q=[0.1, "x", 0.2, 0.3])
    with pytest.raises(DataError, match=r"rows\.csv: `q` of row 1\. Got 'x', expected a finite number"):
        compare_runs(clean, save_run(tmp_path / "p", POISONED))


def test_one_checkpoint_a_kind_gives_no_band(tmp_path):
    """Law: without two members of one kind nothing is said about seeds, and why is."""
    alone = SETTINGS | {"members": [{"checkpoint": "c.pt"}]}
    compared = compare_runs(
        save_run(tmp_path / "c", CLEAN, metadata=alone), save_run(tmp_path / "p", POISONED, metadata=alone)
    )
    null = compared.stats["comparison"]["null_band"]
    assert null == {
        "reason": "there is one checkpoint a kind; two of one kind show what another seed does.",
        "notes": [],
    }
    assert compared.summary()[-1] == f"No null band: {null['reason']}"


def test_too_few_rows_give_no_band(tmp_path):
    """Law: of three rows none is one in twenty."""
    several = SETTINGS | {"members": [{}, {}]}
    compared = compare_runs(
        save_run(tmp_path / "c", CLEAN, metadata=several), save_run(tmp_path / "p", POISONED, metadata=several)
    )
    assert compared.summary()[-1] == "No null band: only 3 rows stand in both runs; 20 are needed."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": {"loss": "bce", "proj_dim": 8}}, r'`features\.loss` "softmax" and "bce"'),
        ({"features": {"loss": "softmax"}}, r"`features\.proj_dim` 8 and null"),
        ({"score": {"form": "self_influence", "lambda_rel": 0.1}}, r"`score\.lambda_rel` 1\.0 and 0\.1"),
        ({"score": {}}, r'`score\.form` "self_influence" and null'),
        (
            {"features": {"loss": "bpr", "proj_dim": 9}},
            r'`features\.loss` "softmax" and "bpr"; `features\.proj_dim` 8 and 9',
        ),
    ],
)
def test_runs_made_differently_are_refused(tmp_path, change, message):
    """Law: scores that measure different things are not compared; every field is named with both values."""
    poisoned = save_run(tmp_path / "p", POISONED, metadata=SETTINGS | change)
    with pytest.raises(DataError, match=f"not made alike.*{message}"):
        compare_runs(save_run(tmp_path / "c", CLEAN), poisoned)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"architecture": "naml", "max_history": 9}, r'Got `model\.architecture` "nrms" and "naml", expected'),
        ({"architecture": "nrms", "max_history": 9}, r"Got `model\.max_history` 5 and 9, expected"),
    ],
)
def test_models_of_two_kinds_are_told_by_what_they_are(tmp_path, model, message):
    """Law: an architecture or setting stands in the message, not the digest and parameter names that follow from it."""
    clean = SETTINGS | {"model": {"architecture": "nrms", "max_history": 5}}
    poisoned = SETTINGS | {"model": model, "features": {"model_config": "0a1b"}}
    folders = save_run(tmp_path / "c", CLEAN, metadata=clean), save_run(tmp_path / "p", POISONED, metadata=poisoned)
    with pytest.raises(DataError, match=message):
        compare_runs(*folders)


def test_checkpoints_and_rows_may_differ(tmp_path):
    """Law: what is said outside `features` and `score` is what the comparison is about."""
    other = SETTINGS | {"members": [{"checkpoint": "p.pt"}], "rows": {"row_count": 4}, "model_type": "poisoned"}
    compare_runs(save_run(tmp_path / "c", CLEAN), save_run(tmp_path / "p", POISONED, metadata=other))


CROSSED = [("poisoned", "train_poisoned", "clean"), ("poisoned", "train_clean", "clean")]
CROSSED += [("clean", "train_poisoned", "clean")]


@pytest.mark.parametrize(("model", "data", "other"), [*CROSSED, ("clean", "train_clean", "clean")])
def test_clean_and_poisoned_may_not_be_crossed(tmp_path, model, data, other):
    """Law: a poisoned run in the clean one's place, or the other way round, is refused; two of one kind are not."""
    kinds = [SETTINGS | {"model_type": m, "dataset_type": d} for m, d in ((model, data), (other, "train_clean"))]
    runs = save_run(tmp_path / "c", CLEAN, metadata=kinds[0]), save_run(tmp_path / "p", POISONED, metadata=kinds[1])
    if (model, data, other) in CROSSED:
        with pytest.raises(DataError, match=r"clean and poisoned are crossed\. Got .* expected the clean one first"):
            compare_runs(*runs)
        runs = runs[::-1]
    compare_runs(*runs)


def test_a_run_that_does_not_say_how_it_was_made_is_refused(tmp_path):
    """Law: silence about settings is not agreement."""
    poisoned = save_run(tmp_path / "p", POISONED, metadata={"top_k": 3})
    with pytest.raises(DataError, match=r"does not say how the run was made\. Got no `features` and no `score`"):
        compare_runs(save_run(tmp_path / "c", CLEAN), poisoned)


def test_runs_without_a_common_row_are_refused(tmp_path):
    """Law: nothing is compared by position."""
    poisoned = save_run(tmp_path / "p", {("v", *rest): score for (_, *rest), score in CLEAN.items()})
    with pytest.raises(DataError, match=r"no row stands in both\. Got 4 and 4 rows"):
        compare_runs(save_run(tmp_path / "c", CLEAN), poisoned)


def test_a_row_that_stands_twice_is_refused(tmp_path):
    """Law: an identity that is not unique matches nothing safely."""
    clean = save_run(tmp_path / "c", CLEAN)
    rows = pd.read_csv(clean / "rows.csv", dtype=str, keep_default_na=False)
    rows.assign(occurrence="0").to_csv(clean / "rows.csv", index=False)
    with pytest.raises(DataError, match=r"row 1 stands twice\. Got user_id u1, article_id a, occurrence 0 again"):
        compare_runs(clean, save_run(tmp_path / "p", POISONED))


def test_a_folder_without_results_is_refused(tmp_path):
    """Law: a missing run is named with the command that makes it."""
    clean = save_run(tmp_path / "c", CLEAN)
    (clean / "rows.csv").unlink()
    with pytest.raises(DataError, match=r"c: not a finished run, rows\.csv missing\. Run scripts/score\.py first"):
        compare_runs(clean, save_run(tmp_path / "p", POISONED))
