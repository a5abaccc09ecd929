"""Text that a spreadsheet would compute is left as it is, or guarded where that is asked for, and is the same data."""

import csv
import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from support import finished, tiny
from support.commands import succeed

from rec_trak.results.cells import guard, guarded, set_spreadsheet_safe, unguard, unguarded
from rec_trak.results.files import as_csv, read_results

STARTS = ("=", "+", "-", "@", "\t", "\r")
COMPUTED = [f"{start}1+1" for start in STARTS] + ["=", "-", "+x", "'=1", "''@x", "'-5", "-5-5", "+1-555", "-.e"]
LEFT = ["", "a=1", " =1", "'", "'a", "''", "-5", "+5", "-1.5e-03", "+.5", "-7.", "1+1", "n1", "日本", "é -"]


@pytest.fixture
def safe():
    """Tables are guarded in here."""
    set_spreadsheet_safe(True)
    yield
    set_spreadsheet_safe(False)


def written(table):
    file = io.BytesIO()
    as_csv(table)(file)
    return file.getvalue().decode()


@pytest.mark.parametrize("text", COMPUTED)
def test_a_guard_is_one_apostrophe(text):
    """It can be taken off again, also from a text that had one of its own."""
    assert guard(text) == f"'{text}"
    assert unguard(guard(text)) == text


@pytest.mark.parametrize("text", LEFT)
def test_what_no_spreadsheet_computes_is_left(text):
    """Numbers written as text are numbers to it."""
    assert guard(text) == unguard(text) == text


def test_tables_are_written_as_they_are(tmp_path):
    """Unless it is asked for; an apostrophe of the data is the data's."""
    table = pd.DataFrame({"=title": COMPUTED, "score": np.arange(len(COMPUTED)) - 5.5})
    assert guarded(table) is table
    assert written(table).splitlines()[:2] == ["=title,score", "=1+1,-5.5"]


def test_only_text_is_guarded(safe):
    """Numbers of each type, empty cells, truths and headings that are no text are written as before."""
    table = pd.DataFrame({
        "=title": COMPUTED[:3], "score": [-1.5, 2, np.nan], "n": [-1, 2, 3], "mixed": [-1, "=x", None],
        "yes": [True, False, True], "text": ["-0.25", "+3", "x"],
    })  # fmt: skip
    assert written(table).splitlines() == [
        "'=title,score,n,mixed,yes,text",
        "'=1+1,-1.5,-1,-1,True,-0.25",
        "'+1+1,2.0,2,'=x,False,+3",
        "'-1+1,,3,,True,x",
    ]
    assert table["=title"].tolist() == COMPUTED[:3]
    again = unguarded(pd.read_csv(io.StringIO(written(table)), dtype=str, keep_default_na=False))
    assert again.columns[0] == "=title"
    assert again["=title"].tolist() == COMPUTED[:3]


def hostile(folder):
    """A finished run whose users, articles and headlines begin as formulas do."""
    tiny.write_tree(folder / "data")
    tiny.write_models(folder / "runs", folder / "data")
    log = folder / "data" / "models" / "train_clean.csv"
    finished.mark(log, lambda line: finished.poisons(line["user_id"], line["candidate_id"]))
    titles = {line["title"]: f"+{line['title']}" for line in finished.read(folder / "data" / "news_items.csv")}

    def changed(line):
        for name, start in (("user_id", "="), ("candidate_id", "@"), ("item_id", "@")):
            if name in line:
                line[name] = start + line[name]
        for name in ("title", "candidate_title"):
            if name in line:
                line[name] = titles[line[name]]
        if "history_ids" in line:
            line["history_ids"] = line["history_ids"].replace("'n", "'@n")
            line["history_titles"] = line["history_titles"].replace("'", "'+").replace("'+,", "',").replace("'+]", "']")
        return line

    for path in (log, folder / "data" / "news_items.csv", folder / "data" / "benchmarks" / "benchmark_mixed.csv"):
        finished.write(path, [changed(line) for line in finished.read(path)])
    targets = {"mixed": str(folder / "data" / "benchmarks" / "benchmark_mixed.csv")}
    return ("--config", tiny.write_config(folder, targets=targets), "--quiet")


def cells(folder):
    """File -> its headings and cells."""
    found = {}
    for path in sorted(folder.rglob("*.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            found[str(path.relative_to(folder))] = list(csv.reader(file))
    return found


@pytest.mark.long
def test_every_command_takes_the_flag_and_finds_the_same(tmp_path):
    """No cell of any file that they write begins as a formula; what they read back is the data, and so are verdicts."""
    flags = hostile(tmp_path)
    results = tmp_path / "results" / "clean_train_clean"
    succeed("featurize", *flags)
    found, told = {}, {}
    for asked in ((), ("--spreadsheet_safe",)):
        for path in (results / name for name in ("targets", "compared")):
            shutil.rmtree(path, ignore_errors=True)
        succeed("score", *flags, *asked)
        for more in (("--targets", "mixed"), ("--targets", "mixed", "--history"), ("--explain", "7", "mixed:2")):
            succeed("score", *flags, *more, *asked)
        out = [
            succeed("detect", "--results_dir", results, "--promoted", "@n1", *asked),
            succeed("trust", "--results_dir", results, *asked),
            succeed("compare", "--clean_dir", results, "--poisoned_dir", results, "--output_dir", results / "compared",
                    *asked),
            succeed("report", "--results_dir", results, "--compare_dir", results / "compared", *asked),
            succeed("clean", "--results_dir", results, "--user", "=u1", "--output", results / f"log{len(asked)}.csv",
                    *asked),
        ]  # fmt: skip
        found[asked], told[asked] = cells(results), [text.replace("log1", "log0") for text in out]
        rows = read_results(results).rows
        assert rows["user_id"].str.startswith("=u").all()
        assert json.loads((results / "metadata.json").read_text()).get("spreadsheet_safe", False) is bool(asked)
    assert told[()] == told["--spreadsheet_safe",]
    plain, safe = found.values()
    assert any(cell.startswith(STARTS) for line in plain["by_user.csv"] for cell in line)
    for name, lines in plain.items():
        if name == "log0.csv":
            assert lines == safe["log1.csv"]  # a click log is the user's own
            continue
        again = safe[name.replace("log0", "log1")]
        assert [[unguard(cell) for cell in line] for line in again] == lines
        assert [[guard(cell) for cell in line] for line in lines] == again
        assert not any(guard(cell) != cell and not cell.startswith("'") for line in again for cell in line)
