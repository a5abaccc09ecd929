"""The results folder: what stands in it, that it is written whole, and that it can be read and made again."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import strange
from support.killed import killed_before, left_over

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError, DataError, NumericalError, StoreError
from rec_trak.results.belongs import RECORD, read_record
from rec_trak.results.files import as_json, read_results, rewrite_results, write_files, write_results
from rec_trak.results.rows_file import read_rows

N = 6
SCORES = np.array([0.3, 0.1, 0.9, 0.1, 1 / 3, -0.25])
TITLES = ('Say "hi", then', "New\nline", "=1+1", "日本の見出し", "")
FINISHED = {"trak_scores.npy", "trak_labels.npy", "rows.csv", "metadata.json"}
REMADE = {"ranking_results.csv", "ranking_full.csv", "score_distribution.png", "top_influential_samples.png"}


def world() -> tuple[Impressions, Articles]:
    articles = Articles(
        tuple("abcde"), TITLES, ("",) * 5, ("",) * 5, ("",) * 5, np.array([1, 0, 0, -1, 1], np.int8), "made up"
    )
    clicked = [0, 1, 2, 3, 4, 0]
    impressions = Impressions(
        user_ids=np.array(["007", "NA", "u,2", "null", "u4", "007"], dtype=object),
        history=Ragged.of([[1, 2], [], [0], [4, 1], [3], [1, 2]]),
        candidates=Ragged.of([[c, (c + 2) % 5, (c + 1) % 5] for c in clicked]),
        labels=Ragged.of([[1, 0, 0]] * N),
        is_fake=np.array([1, 0, 0, -1, 1, 1], np.int8),
        sources=tuple(f"{3 * i + 2}-{3 * i + 4}" for i in range(N)),
    )
    return impressions, articles


def write(folder: Path, scores=SCORES, top_k: int = 2, metadata: dict | None = None, **options) -> list[Path]:
    metadata = metadata or {"config": {"seed": 1}, "dataset_type": "train_clean", "model_type": "clean", "proj_dim": 8}
    return write_results(folder, scores, *world(), top_k, metadata, **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run; tests read it and do not change it."""
    folder = tmp_path_factory.mktemp("results") / "deep" / "clean_train_clean"
    write(folder, extra={"leverage": np.linspace(0, 1, N, dtype=np.float32), "note": ["a\rb", "", "NA", "x", "y", "z"]})
    return folder


@pytest.fixture
def copy(run, tmp_path) -> Path:
    """A copy of the run's four files that a test may damage."""
    for name in FINISHED:
        (tmp_path / name).write_bytes((run / name).read_bytes())
    return tmp_path


def test_all_files_are_there_and_nothing_else(run):
    """Law: the folder holds the old names and the new ones, and no temporary file."""
    assert {path.name for path in run.iterdir()} == FINISHED | REMADE


def test_paths_and_gradients(tmp_path):
    """Law: the paths returned are the files written; gradients are one of them only where they were given."""
    gradients = np.arange(12.0, dtype=np.float32).reshape(N, 2)
    paths = write(tmp_path, gradients=gradients)
    assert {path.name for path in paths} == FINISHED | REMADE | {"trak_gradients.npy"}
    assert all(path.is_file() for path in paths)
    assert np.array_equal(np.load(tmp_path / "trak_gradients.npy"), gradients)


def test_arrays_are_in_row_order(run):
    """Law: scores are float32 and labels 1, 0, -1, both in row order."""
    scores, labels = np.load(run / "trak_scores.npy"), np.load(run / "trak_labels.npy")
    assert scores.dtype == np.float32
    assert np.array_equal(scores, SCORES.astype(np.float32))
    assert labels.tolist() == [1, 0, 0, -1, 1, 1]


def test_csv_files_read_back_as_they_were_meant(run):
    """Law: quotes, commas, line breaks, empty titles and users called NA survive; old columns come first."""
    full = pd.read_csv(run / "ranking_full.csv", dtype=str, keep_default_na=False)
    assert list(full.columns)[:5] == ["rank", "sample_idx", "score", "label", "category"]
    assert list(full.columns)[5:] == ["user_id", "article_id", "title", "source_lines", "leverage", "note"]
    assert full["sample_idx"].tolist() == ["2", "4", "0", "1", "3", "5"]
    assert full["label"].tolist() == ["real", "fake", "fake", "real", "unknown", "fake"]
    assert full["user_id"].tolist() == ["u,2", "u4", "007", "NA", "null", "007"]
    assert full["title"].tolist() == ["=1+1", "", 'Say "hi", then', "New line", "日本の見出し", 'Say "hi", then']
    assert full["note"].tolist() == ["NA", "y", "a b", "", "x", "z"]
    assert full["score"].astype(np.float32).tolist() == np.load(run / "trak_scores.npy")[[2, 4, 0, 1, 3, 5]].tolist()
    assert len((run / "ranking_full.csv").read_text(encoding="utf-8").splitlines()) == N + 1


def test_short_csv_is_both_ends_of_the_full_one(run):
    """Law: ranking_results.csv holds the top and the bottom rows with their ranks in the whole ranking."""
    short = pd.read_csv(run / "ranking_results.csv")
    assert short["rank"].tolist() == [1, 2, 5, 6]
    assert short["category"].tolist() == ["top_influential"] * 2 + ["bottom_influential"] * 2


def test_metadata_keeps_the_old_keys_and_the_given_ones(tmp_path):
    """Law: metadata.json has the old keys even where nobody gave them, what was given, and only finite numbers."""
    given = {"features": {"loss": "softmax"}, "save_dir": tmp_path, "worst": np.float32("nan"), "per": np.array([1, 2])}
    write(tmp_path, metadata=given)
    content = json.loads((tmp_path / "metadata.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert content["config"] is content["dataset_type"] is content["model_type"] is content["proj_dim"] is None
    assert content["features"] == {"loss": "softmax"}
    assert (content["save_dir"], content["worst"], content["per"]) == (str(tmp_path), None, [1, 2])
    assert content["top_k"] == 2
    assert content["data_stats"] == {"n_total": 6, "n_fake": 3, "n_real": 2, "n_unique": 5}
    stats = content["score_stats"]
    assert [stats[k] for k in ("mean", "std", "min", "max")] == pytest.approx(
        [SCORES.mean(), SCORES.std(), -0.25, 0.9], rel=1e-6
    )


def test_made_again_every_file_is_the_same(run, copy):
    """Law: rankings and figures depend on the four files of a finished run alone, to the byte."""
    paths = rewrite_results(copy)
    vector = {f"{name.removesuffix('.png')}{end}" for name in REMADE if name.endswith(".png")
              for end in (".pdf", ".svg", "_column.pdf", "_column.svg")}  # fmt: skip
    assert {path.name for path in paths} == REMADE | vector
    assert {name: (copy / name).read_bytes() for name in REMADE} == {name: (run / name).read_bytes() for name in REMADE}


def test_written_twice_every_file_is_the_same(tmp_path):
    """Law: a second writing of the same results changes nothing."""
    before = {path: path.read_bytes() for path in write(tmp_path)}
    assert {path: path.read_bytes() for path in write(tmp_path)} == before


def test_a_long_top_k_is_cut_once_and_recorded_cut(tmp_path):
    """Law: one warning for a `top_k` beyond the rows; metadata.json says what was used."""
    with pytest.warns(UserWarning, match="Got 99, using all 6") as caught:
        write(tmp_path, top_k=99)
    assert len(caught) == 1
    assert json.loads((tmp_path / "metadata.json").read_text())["top_k"] == N


def test_bad_results_are_refused_before_anything_is_written(tmp_path):
    """Law: a ranking that means nothing leaves no file."""
    folder = tmp_path / "new"
    with pytest.raises(NumericalError, match="new: the score of row 3 is not finite"):
        write(folder, scores=[0, 1, 2, np.nan, 4, 5])
    with pytest.raises(NumericalError, match=r"the score of row 0 is not finite\. Got inf"):
        write(folder, scores=[1e300, 1, 2, 3, 4, 5])
    with pytest.raises(DataError, match="Got 2 scores for labels of shape"):
        write(folder, scores=[1.0, 2.0])
    with pytest.raises(ConfigError, match="`top_k`: not the length of a list"):
        write(folder, top_k=0)
    with pytest.raises(DataError, match="extra column `rank`"):
        write(folder, extra={"rank": range(N)})
    assert not folder.exists()


def test_an_interrupted_write_leaves_the_old_files_whole(tmp_path):
    """Law: whatever stops a write, no file has changed and no temporary one stays."""
    write_files(tmp_path, {"a": lambda file: file.write(b"old a"), "b": lambda file: file.write(b"old b")})

    def stopped(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path, {"a": lambda file: file.write(b"new a"), "b": stopped})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old a", "b": b"old b"}


def test_killed_at_every_moment(tmp_path):
    """Law: wherever writers of two scorings in turn are killed, each file is whole, what is said to be of a scoring is,
    where there is a metadata.json all are of its scoring, and nothing stays beside the files when one ends well."""
    names = ("a", "b", "metadata.json")

    def write_of(scoring):
        parts = {name: lambda file, name=name: file.write(f"{name} of {scoring}".encode()) for name in names}
        write_files(tmp_path / "run", parts, scoring)

    act = 1
    while killed_before(act, lambda scoring=f"s{act % 2}": write_of(scoring), tmp_path):
        whole = {path.name: path.read_text() for path in (tmp_path / "run").glob("[abm]*") if path.name != RECORD}
        assert set(whole.values()) <= {f"{name} of s{i}" for name in names for i in range(2)}
        assert "metadata.json" not in whole or len({text[-2:] for text in whole.values()}) == 1
        assert all(whole[name] == f"{name} of {of}" for name, of in read_record(tmp_path / "run").items())
        act += 1
    assert act > 15
    assert read_record(tmp_path / "run") == dict.fromkeys(names, f"s{act % 2}")
    assert left_over(tmp_path) == []


def test_a_full_disk_is_one_line(tmp_path):
    """Law: an error of the file system names the file and the reason, and leaves nothing behind."""

    def full(file):
        raise OSError(28, os.strerror(28))

    with pytest.raises(StoreError, match=r"x\.csv: cannot be written \(No space left on device\)\. Make room"):
        write_files(tmp_path, {"x.csv": full})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"file: cannot be written \(File exists\)"):
        write_files(tmp_path / "file", {"x.csv": full})


def test_a_column_of_numbers(copy):
    """Law: a cell of rows.csv that is no number is told by its row; nobody ranks by what is left."""
    held = read_results(copy)
    assert held.numbers("sample_idx").tolist() == list(range(N))
    with pytest.raises(DataError, match=r"`user_id` of row \d\. Got .*, expected a finite number\. Run scripts"):
        held.numbers("user_id")


def test_lines_of_the_same_bytes_are_read_once(run):
    """Law: of the same bytes the lines are those of before; of others, or of bytes nobody looked at, they are not."""
    path, labels = run / "rows.csv", read_results(run).labels
    rows = read_rows(path, labels, known="a sum")
    assert read_rows(path, labels, known="a sum") is rows
    assert all(read_rows(path, labels, known=known) is not rows for known in ("another", None))


def test_a_folder_that_is_no_finished_run_says_what_is_missing(tmp_path, copy):
    """Law: what is missing is named, and what makes it."""
    with pytest.raises(DataError, match=r"nowhere: not a finished run, trak_scores.npy, .*Run scripts/score.py first"):
        rewrite_results(tmp_path / "nowhere")
    (copy / "rows.csv").unlink()
    (copy / "metadata.json").unlink()
    with pytest.raises(DataError, match=r"not a finished run, rows\.csv, metadata\.json missing"):
        read_results(copy)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("trak_scores.npy", b"", r"trak_scores\.npy: cannot be read"),
        ("trak_labels.npy", b"not numpy", r"trak_labels\.npy: cannot be read"),
        ("metadata.json", b"{", r"metadata\.json: cannot be read"),
        *(("metadata.json", content, r"metadata\.json: cannot be read") for content in strange.JSON.values()),
        ("metadata.json", b"[1]", r"metadata\.json: no keys and values\. Got list"),
        ("metadata.json", b"{}", r"metadata\.json: `top_k` is missing"),
        ("rows.csv", b"", r"rows\.csv: cannot be read"),
        ("rows.csv", b"\xff\xfe\x00", r"rows\.csv: cannot be read"),
        ("rows.csv", b"sample_idx,user_id\n0,u\n", r"rows\.csv: columns missing\. Got .*expected also history_ids"),
    ],
)
def test_a_damaged_file_is_named(copy, name, content, message):
    """Law: a file that cannot be read is named with the reason, never half read."""
    (copy / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        rewrite_results(copy)


def test_files_of_different_runs_do_not_mix(copy):
    """Law: rows.csv must have the rows of the arrays, in their order."""
    rows = pd.read_csv(copy / "rows.csv", dtype=str, keep_default_na=False)

    def refused(changed: pd.DataFrame, message: str) -> None:
        changed.to_csv(copy / "rows.csv", index=False)
        with pytest.raises(DataError, match=message):
            read_results(copy)

    refused(rows[:-1], r"rows\.csv: not the rows of trak_scores\.npy\. Got 5 lines, expected 6")
    refused(rows[::-1], r"rows\.csv: not in row order\. Got `sample_idx` 5 in line 2, expected 0")
    refused(rows.assign(label="real"), r"not the rows of trak_labels\.npy\. Got row 0 real, expected fake")
    np.save(copy / "trak_labels.npy", np.zeros(3))
    with pytest.raises(DataError, match="Got 6 scores for labels of shape"):
        read_results(copy)
    np.save(copy / "trak_labels.npy", np.zeros(N))
    np.save(copy / "trak_scores.npy", np.full(N, np.nan))
    with pytest.raises(NumericalError, match="the score of row 0 and 5 more rows is not finite"):
        read_results(copy)


def test_a_run_reads_back_as_it_was(run):
    """Law: reading gives what was written, `sample_idx` as integers and all else of rows.csv as text."""
    results = read_results(run)
    assert results.rows["sample_idx"].tolist() == list(range(N))
    assert results.rows["user_id"].tolist() == ["007", "NA", "u,2", "null", "u4", "007"]
    assert results.rows["other_candidates"].tolist() == ["b c", "c d", "d e", "a e", "a b", "b c"]
    assert results.rows["occurrence"].tolist() == ["0", "0", "0", "0", "0", "1"]
    assert results.metadata["model_type"] == "clean"


def test_json_is_accepted_by_any_reader(tmp_path):
    """Law: NaN and infinities become null at any depth; paths and dates become text."""
    content = {"a": [float("nan"), {"b": (np.inf, np.int64(3), np.bool_(True))}], 4: Path("x/y")}
    write_files(tmp_path, {"x.json": as_json(content)})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, {"b": [None, 3, True]}], "4": "x/y"}
