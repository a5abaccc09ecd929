"""A click log without the chosen rows: what is left is byte for byte the same, and reads as exactly the other rows."""

import shutil
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from support import finished, tiny
from support.commands import fail, succeed
from support.killed import killed_before

from rec_trak.config.reading import Reading
from rec_trak.data.impressions import read_pairwise
from rec_trak.data.mind_rows import read_mind_behaviors
from rec_trak.data.sources import read_data
from rec_trak.detection.cleaning import Choice, choose_rows, clean_log
from rec_trak.errors import ConfigError, DataError
from rec_trak.results.files import read_results, write_results
from rec_trak.results.ranking import IDENTITY, rows_table
from rec_trak.runs.click_log import line_numbers
from rec_trak.runs.finished import open_run


def run_of(folder, data, **keys):
    """The results folder of a run over the tree `data`, with scores that fall from row to row."""
    tiny_config = {"data_path": str(data), "news_items_path": None, "output_dir": "none", "model_config": "none"} | keys
    config = {key: value for key, value in tiny_config.items() if value is not None}
    reading = Reading(config.get("data_format", "auto"), config.get("rows", "as_trained"))
    articles, rows = read_data(data, None, "train_clean", reading)
    metadata = {"config": config, "dataset_type": "train_clean", "model_type": "clean"}
    scores = -np.arange(len(rows), dtype=float)
    extra = {"renormalised": np.arange(len(rows), dtype=float)}
    write_results(folder, scores, rows, articles, 2, metadata, extra)
    return folder


@pytest.fixture
def path(tmp_path):
    """A pairwise click log."""
    return tiny.write_tree(tmp_path / "data") / "models" / "train_clean.csv"


@pytest.fixture
def folder(tmp_path, path):
    """A finished run over it."""
    return run_of(tmp_path / "results", tmp_path / "data")


def contents(rows, articles):
    """All that identifies rows, but for their order and occurrence, with the other candidates."""
    table = rows_table(rows, articles)
    return Counter(table[[*IDENTITY[:3], "other_candidates"]].itertuples(index=False, name=None))


def left(log, dropped):
    """The contents of the rows of a log that are not in `dropped`."""
    kept = np.setdiff1d(np.arange(len(log.everything)), dropped)
    return contents(log.everything.subset(kept), log.articles)


@pytest.mark.parametrize("rows", ["as_trained", "per_click"])
def test_the_cleaned_file_has_exactly_the_other_rows(tmp_path, path, rows):
    """Read again it gives them and nothing else, and every line that is left is a line of the old file, in order."""
    if rows == "per_click":  # impressions with several clicks, so that rows share the lines of their other candidates
        lines = finished.read(path)
        first = {line["user_id"]: i for i, line in reversed(list(enumerate(lines)))}
        for i, line in enumerate(lines):
            if first[line["user_id"]] == i and sum(other["user_id"] == line["user_id"] for other in lines) > 2:
                line["label"] = "1"
        finished.write(path, lines)
    folder = run_of(tmp_path / "results", tmp_path / "data", rows=rows)
    log = open_run(folder).click_log()
    dropped = np.random.default_rng(0).choice(len(log.rows), 7, replace=False)
    pd.DataFrame({"sample_idx": dropped}).to_csv(tmp_path / "chosen.csv")
    done = clean_log(folder, tmp_path / "new.csv", Choice(rows=tmp_path / "chosen.csv"))
    again = read_pairwise(tmp_path / "new.csv", log.articles, rows)
    assert contents(again, log.articles) == left(log, dropped)
    assert (len(again), done.rows_left) == (len(log.rows) - 7,) * 2
    before, after = (p.read_bytes().splitlines(keepends=True) for p in (path, tmp_path / "new.csv"))
    assert len(before) - len(after) == done.lines
    remaining = iter(before)
    assert all(line in remaining for line in after)  # each stands behind the one before it
    if rows == "as_trained":
        gone = {n for i in dropped for n in line_numbers(log.rows.sources[i])}
        assert after == [line for n, line in enumerate(before, 1) if n not in gone]


def test_bytes_are_kept_whatever_the_writer_did(tmp_path, path):
    """A byte order mark, Windows line ends, needless quotes, a newline inside a field, blank lines, no last newline."""
    lines = finished.read(path)
    for line in lines:
        line["note"] = 'ümläut, "quoted"\r\nand a second line' if line["user_id"] == "u3" else "x"
    header = ",".join(lines[0])
    body = ["\r\n" * (i % 5 == 0) + ",".join('"' + v.replace('"', '""') + '"' for v in line.values())
            for i, line in enumerate(lines)]  # fmt: skip
    raw = ("\ufeff" + "\r\n".join([header, *body])).encode()
    path.write_bytes(raw)
    folder = run_of(tmp_path / "results", tmp_path / "data")
    log = open_run(folder).click_log()
    users = ("u5", "u7", "u23")
    done = clean_log(folder, tmp_path / "new.csv", Choice(users=users))
    gone = {n for i, u in enumerate(log.rows.user_ids) if u in users for n in line_numbers(log.rows.sources[i])}
    kept = [line for n, line in enumerate(raw.splitlines(keepends=True), 1) if n not in gone]
    assert (tmp_path / "new.csv").read_bytes() == b"".join(kept)
    assert (done.lines, done.rows_left) == (len(gone), 21)
    assert contents(read_pairwise(tmp_path / "new.csv", log.articles), log.articles) == left(
        log, np.flatnonzero(np.isin(log.rows.user_ids, users))
    )


def test_the_log_says_what_went_and_why(tmp_path, folder):
    """One line a row, the highest rank first, with the run's own columns; nothing else is written."""
    done = clean_log(folder, tmp_path / "out" / "new.csv", Choice(top=3))
    assert done.paths == [tmp_path / "out" / "new.csv", tmp_path / "out" / "new_dropped.csv"]
    assert sorted((tmp_path / "out").iterdir()) == done.paths
    rows = read_results(folder).rows
    table = pd.read_csv(done.paths[1], keep_default_na=False)
    assert list(table) == ["sample_idx", "user_id", "article_id", "title", "rank", "score", "source_lines", "reason"]
    assert (table["sample_idx"].tolist(), table["rank"].tolist(), table["score"].tolist()) == (
        [0, 1, 2], [1, 2, 3], [0, -1, -2])  # fmt: skip
    for column in ("user_id", "article_id", "title", "source_lines"):
        assert table[column].astype(str).tolist() == rows[column].head(3).tolist()
    assert set(table["reason"]) == {"top 3 by score"}


def test_choices_narrow_each_other(folder):
    """Each flag alone names its rows; together they name what all of them do, and the top is taken last."""
    results = read_results(folder)
    users, articles = results.rows["user_id"], results.rows["article_id"]

    def chosen(**keys):
        return choose_rows(results, Choice(**keys))[0].tolist()

    assert chosen(top=4) == [0, 1, 2, 3]
    assert chosen(top=4, by="renormalised") == [23, 22, 21, 20]
    assert chosen(users=("u3", "u9")) == np.flatnonzero(users.isin(["u3", "u9"])).tolist()
    assert chosen(articles=("n1",)) == np.flatnonzero(articles == "n1").tolist()
    assert chosen(above=-2) == [0, 1]
    assert chosen(below=-21) == [22, 23]
    assert chosen(above=-5, below=-2) == [3, 4]
    clicks = np.flatnonzero(articles == "n1")
    assert chosen(articles=("n1",), top=2) == clicks[:2].tolist()
    assert chosen(articles=("n1",), top=2, by="renormalised") == clicks[::-1][:2].tolist()
    assert choose_rows(results, Choice(articles=("n1",), above=-20.5, top=1))[2] == (
        "article n1, score above -20.5, top 1 by score"
    )


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (Choice(), "which rows. Got nothing to choose by"),
        (Choice(top=0), "--top: out of range. Got 0, expected 1 to 24"),
        (Choice(top=25), "--top: out of range. Got 25, expected 1 to 24"),
        (Choice(users=("u3", "nobody")), r"--user: 1 without any row \(nobody\)"),
        (Choice(articles=("n99",)), r"--article: 1 without any row \(n99\)"),
        (Choice(above=0.5), "no row is named. Got 0 rows with score above 0.5"),
        (Choice(below=float("nan")), "no row is named"),
        (Choice(by="title", top=1), "--by: not a column of numbers. Got 'title'"),
        (Choice(by="none", top=1), "--by: not a column of numbers. Got 'none', expected `score` or one of sample_idx"),
        (Choice(top=24), "no row would be left. Got all 24 rows chosen"),
    ],
)
def test_choices_that_cannot_be_meant_are_refused(tmp_path, folder, choice, words):
    """Each in one line, and nothing is written."""
    with pytest.raises(ConfigError, match=words):
        clean_log(folder, tmp_path / "new.csv", choice)
    assert not (tmp_path / "new.csv").exists()


def test_suspicion_is_read_from_what_detection_wrote(folder):
    """Rows in question alone go, the most suspicious first; a file that is not there or is damaged is told."""
    choice, path = Choice(by="suspicion", top=1), folder / "suspicion.csv"
    with pytest.raises(ConfigError, match=r"no suspicion.csv of this scoring.*detect.py.*Run it, and give that folder"):
        clean_log(folder, None, choice)
    path.write_text("rank,sample_idx,suspicion\n1,7,1.9\n2,3,1.5\n", encoding="utf-8")
    assert clean_log(folder, None, choice).dropped["sample_idx"].tolist() == [7]
    assert clean_log(folder, None, Choice(by="suspicion", above=0)).dropped["sample_idx"].tolist() == [7, 3]
    assert clean_log(folder, None, Choice(by="suspicion", below=9)).dropped["sample_idx"].tolist() == [7, 3]
    for value in ("x", "nan", "0", "-1"):
        path.write_text(f"rank,sample_idx,suspicion\n1,7,{value}\n", encoding="utf-8")
        with pytest.raises(DataError, match="`suspicion` is wrong. Got something else than numbers above 0.*Run it ag"):
            clean_log(folder, None, choice)


def test_killed_and_given_again(tmp_path, folder):
    """Wherever it is killed, the same command ends well with the same files, also where all was done; another choice
    is refused, since it would write over them."""
    output, act = tmp_path / "out" / "new.csv", 1
    whole = {path.name: path.read_bytes() for path in clean_log(folder, output, Choice(top=2)).paths}
    while killed_before(act, lambda: clean_log(folder, output, Choice(top=2)), tmp_path):
        if act % 2:
            shutil.rmtree(output.parent, ignore_errors=True)
        act += 1
    assert act > 4
    assert {path.name: path.read_bytes() for path in output.parent.iterdir()} == whole
    with pytest.raises(ConfigError, match="new.csv cannot be written, it is there already"):
        clean_log(folder, output, Choice(top=3))
    assert {path.name: path.read_bytes() for path in output.parent.iterdir()} == whole


def test_nothing_is_written_over(tmp_path, path, folder):
    """Neither the click log, by whatever name, nor any other file."""
    before = path.read_bytes()
    (tmp_path / "link.csv").symlink_to(path)
    for output in (path, tmp_path / "link.csv", path.parent / ".." / "models" / "train_clean.csv"):
        with pytest.raises(ConfigError, match="it is the click log itself"):
            clean_log(folder, output, Choice(top=1))
    with pytest.raises(ConfigError, match="it is there already"):
        clean_log(folder, path.with_name("train_poisoned.csv"), Choice(top=1))
    (tmp_path / "new_dropped.csv").write_text("mine")
    with pytest.raises(ConfigError, match="new_dropped.csv cannot be written, it is there already"):
        clean_log(folder, tmp_path / "new.csv", Choice(top=1))
    assert path.read_bytes() == before
    assert not (tmp_path / "new.csv").exists()


def test_a_dry_run_writes_nothing(tmp_path, folder):
    """It says the same as the run itself."""
    before = sorted(tmp_path.rglob("*"))
    would = clean_log(folder, None, Choice(top=5))
    assert sorted(tmp_path.rglob("*")) == before
    assert would.paths == []
    done = clean_log(folder, tmp_path / "new.csv", Choice(top=5))
    assert (would.lines, would.rows_left, would.changed) == (done.lines, done.rows_left, done.changed)
    pd.testing.assert_frame_equal(would.dropped, done.dropped)


def test_a_log_that_changed_is_refused(tmp_path, path, folder):
    """Row numbers would mean other clicks."""
    lines = finished.read(path)
    finished.write(path, [line for line in lines if line["user_id"] != "u3"])
    with pytest.raises(DataError, match="it changed since. Got 23 rows, expected 24"):
        clean_log(folder, tmp_path / "new.csv", Choice(top=1))


def test_rows_outside_a_sample_stay(tmp_path):
    """Only rows that the run scored can be named."""
    folder = finished.finished_run(tmp_path, sample_size=10, seed=3)
    log = open_run(folder).click_log()
    done = clean_log(folder, tmp_path / "new.csv", Choice(top=4))
    dropped = log.places[done.dropped["sample_idx"].to_numpy()]
    assert done.rows_left == 20
    assert contents(read_pairwise(tmp_path / "new.csv", log.articles), log.articles) == left(log, dropped)


def test_rows_that_would_be_read_differently_are_refused(tmp_path, path):
    """Without the one id that is no number, 7 and 07 become one user, so their impressions would be one."""
    lines = finished.read(path)[:0]
    for user in ("7", "07", "abc"):
        for i, label in enumerate("10"):
            lines.append({"user_id": user, "history_titles": "[]", "history_ids": "[]", "candidate_id": f"n{i}",
                          "candidate_title": "", "label": label, "candidate_is_fake": "0"})  # fmt: skip
    finished.write(path, lines)
    folder = run_of(tmp_path / "results", tmp_path / "data")
    with pytest.raises(DataError, match="others would be read differently. Got 2 of 2 rows changed"):
        clean_log(folder, tmp_path / "new.csv", Choice(users=("abc",)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "results"]


NEWS = "".join(f"N{i}\tnews\tworld\tTitle {i}\tAbstract\turl\t[]\t[]\n" for i in range(9))
BEHAVIORS = [
    "1\tU1\t11/11/2019 9:00:00 AM\tN1 N2\tN3-1 N4-0 N5-0\n",
    "2\tU2\t11/11/2019 9:00:00 AM\t\tN3-0 N6-1  N7-1 N8-0\r\n",
    "\n",
    "1\tU1\t11/12/2019 9:00:00 AM\tN1 N2\tN6-1 N3-1 N4-0\n",  # the number of another impression
    "4\tU3\t11/12/2019 9:00:00 AM\tN2\tN6-1\n",  # nothing to compete with: no row
    "5\tU3\t11/12/2019 9:00:00 AM\tN2\tN5-0 N8-0\n",  # no click: no row
    "6\tU4\t11/12/2019 9:00:00 AM\tN2\tN0-0 N8-0 N7-1",
]


@pytest.fixture
def mind(tmp_path):
    """A run over a MIND folder; rows: N3 of 1, N6 and N7 of 2, N6 and N3 of the second 1, N7 of 6."""
    (tmp_path / "mind").mkdir()
    (tmp_path / "mind" / "news.tsv").write_text(NEWS)
    (tmp_path / "mind" / "behaviors.tsv").write_bytes("".join(BEHAVIORS).encode())
    return run_of(tmp_path / "results", tmp_path / "mind")


@pytest.mark.parametrize(
    ("dropped", "lines"),
    [
        ([0], [None, *BEHAVIORS[1:]]),
        ([1, 2], [BEHAVIORS[0], None, *BEHAVIORS[2:]]),
        ([1], [BEHAVIORS[0], BEHAVIORS[1].replace(" N6-1", "").replace("N6-1", ""), *BEHAVIORS[2:]]),
        ([3], [*BEHAVIORS[:3], BEHAVIORS[3].replace("N6-1 ", ""), *BEHAVIORS[4:]]),
        ([2, 4, 5], [BEHAVIORS[0], BEHAVIORS[1].replace("  N7-1", ""), BEHAVIORS[2],
                     BEHAVIORS[3].replace(" N3-1", ""), *BEHAVIORS[4:6], None]),
    ],
)  # fmt: skip
def test_mind_lines_go_or_lose_a_click(tmp_path, mind, dropped, lines):
    """A line goes when all its clicks do; else it loses the dropped ones alone. The rest reads as the other rows."""
    pd.DataFrame({"sample_idx": dropped}).to_csv(tmp_path / "chosen.csv")
    done = clean_log(mind, tmp_path / "new.tsv", Choice(rows=tmp_path / "chosen.csv"))
    assert (tmp_path / "new.tsv").read_bytes() == "".join(filter(None, lines)).encode()
    log = open_run(mind).click_log()
    assert contents(read_mind_behaviors(tmp_path / "new.tsv", log.articles), log.articles) == left(log, dropped)
    changed = sum(line is not None and line != before for line, before in zip(lines, BEHAVIORS, strict=True))
    assert (done.lines, done.changed) == (lines.count(None), changed)


def test_preprocessed_rows_are_lines(tmp_path, shared):
    """A line of behaviors_parsed.tsv is a row: dropping rows drops their lines."""
    data = shared / "fixtures" / "yusanshi" / "data" / "train"
    if not data.is_dir():
        pytest.skip("no preprocessed folder in the shared data")
    folder = run_of(tmp_path / "results", data, data_format="parsed")
    done = clean_log(folder, tmp_path / "new.tsv", Choice(top=5))
    before = (data / "behaviors_parsed.tsv").read_bytes().splitlines(keepends=True)
    gone = {int(line) for line in done.dropped["source_lines"]}
    assert (tmp_path / "new.tsv").read_bytes() == b"".join(x for n, x in enumerate(before, 1) if n not in gone)
    assert (done.lines, len(gone)) == (5, 5)


def test_the_command(tmp_path, folder):
    """Counts, the first rows, the paths; a dry run; and one line where it cannot be meant."""
    out = succeed("clean", "--results_dir", folder, "--top", 2, "--by", "renormalised", "--dry_run")
    assert "2 rows go from" in out
    assert "22 stay" in out
    assert out.rstrip().endswith("Nothing was written.")
    out = succeed("clean", "--results_dir", folder, "--article", "n1", "--below", -3, "--output", tmp_path / "new.csv")
    assert str(tmp_path / "new_dropped.csv") in out
    out = succeed("clean", "--results_dir", folder, "--top", 12, "--dry_run")
    assert len([line for line in out.splitlines() if line.split()[:1] and line.split()[0].isdigit()]) == 1 + 12
    assert "the first" not in out
    out = succeed("clean", "--results_dir", folder, "--top", 12, "--output", tmp_path / "more.csv")
    assert "... the first 10 of 12 rows; all are in the second file" in out
    assert "--output: missing" in fail("clean", "--results_dir", folder, "--top", 1)
    assert "it is there already" in fail("clean", "--results_dir", folder, "--top", 1, "--output", tmp_path / "new.csv")
