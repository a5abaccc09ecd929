"""Which rows were trained on: by history length and day, set by a key or by the code base, always counted."""

import json
from types import SimpleNamespace

import pytest
from support import finished, tiny

from rec_trak.checkpoints import source
from rec_trak.checkpoints.source import code_base_reading
from rec_trak.config.reading import Reading, reading_of
from rec_trak.data.sources import read_data
from rec_trak.errors import ConfigError, DataError

NEWS = "\n".join(f"N{i}\tc\ts\tnews {i}\t\tu\t[]\t[]" for i in range(6)) + "\n"


@pytest.fixture
def mind(tmp_path):
    """Writes a MIND folder of (impression, time, history) lines."""

    def write(*lines, head=""):
        (tmp_path / "news.tsv").write_text(NEWS)
        text = "".join(f"{i}\tU{i}\t{when}\t{history}\tN1-1 N2-0 N3-0\n" for i, when, history in lines)
        (tmp_path / "behaviors.tsv").write_text(head + text)
        return tmp_path

    return write


def test_rows_without_history_and_after_a_day_are_left_out(mind):
    """As newsreclib's MIND reader: of 50 rows, 5 without history and 10 from the last day on, 35 are trained on."""
    lines = [(i, f"11/{9 + i % 5}/2019 8:00:00 AM", "N4 N5") for i in range(35)]
    lines += [(35 + i, "11/10/2019 8:00:00 AM", "") for i in range(5)]
    lines += [(40 + i, "11/14/2019 8:00:00 AM", "N4") for i in range(10)]
    folder = mind(*lines)
    assert len(read_data(folder, None, "train_clean")[1]) == 50
    _, rows = read_data(folder, None, "train_clean", Reading(least_history=1, until="2019-11-14"))
    assert len(rows) == 35
    bounds = "a history of fewer than 1 article(s) or a day from 2019-11-14 on"
    assert rows.notes[-1] == f"15 row(s) were not trained on and are left out: {bounds}."
    _, rows = read_data(folder, None, "train_clean", Reading(since="2019-11-14"))
    assert len(rows) == 10


def test_the_code_base_says_it_and_a_key_goes_before(monkeypatch):
    """newsreclib's rows are those of its reader; what the YAML says wins, None does not."""
    found = SimpleNamespace(READING={"least_history": 1, "until": "2019-11-14"}, NAME="newsreclib")
    monkeypatch.setattr(source, "read_state_dict", lambda path: {})
    monkeypatch.setattr(source, "recognise_checkpoint", lambda state: (found, "nrms"))
    said = code_base_reading({}, "auto", "x.ckpt")
    config = SimpleNamespace(**dict.fromkeys(vars(Reading())))
    assert reading_of(config, said) == Reading(least_history=1, until="2019-11-14")
    config.least_history = 0
    assert reading_of(config, said) == Reading(least_history=0, until="2019-11-14")
    assert code_base_reading({}, "rec_trak", "x.ckpt") == {}


def test_bounds_that_cannot_be_meant(mind):
    """No date, days that nobody told, and bounds that leave nothing."""
    config = SimpleNamespace(**vars(Reading(since="14.11.2019")))
    with pytest.raises(ConfigError, match=r"`since`: no date. Got '14.11.2019', expected one like '2019-11-14'"):
        reading_of(config)
    folder = mind((1, "noon", "N4"))
    with pytest.raises(DataError, match="`since` and `until` need days"):
        read_data(folder, None, "train_clean", Reading(until="2019-11-14"))
    with pytest.raises(DataError, match="no row is left. Got 1 row.s., each with a history of fewer than 2"):
        read_data(folder, None, "train_clean", Reading(least_history=2))


def test_lines_that_pandas_reads_without_a_history_are_left_out(tmp_path):
    """groupby leaves them out of training; they are counted, and [] stays."""
    path = tiny.write_tree(tmp_path / "data") / "models" / "train_clean.csv"
    lines = finished.read(path)
    for line in lines:
        if line["user_id"] in ("u3", "u9"):
            line |= {"history_titles": "", "history_ids": ""}
        if line["user_id"] == "u5":
            line |= {"history_titles": "[]", "history_ids": "[]"}
    finished.write(path, lines)
    _, rows = read_data(tmp_path / "data", None, "train_clean")
    assert len(rows) == 22
    assert "u5" in rows.user_ids
    gone = sum(line["user_id"] in ("u3", "u9") for line in lines)
    assert rows.notes[0].startswith(f"{gone} line(s) with an empty `history_titles` (the first is line ")


def test_a_finished_run_reads_its_log_as_it_was_read(tmp_path):
    """What the keys and the code base said stands in metadata.json, for detect, clean and the page."""
    folder = finished.finished_run(tmp_path, least_history=2)
    told = json.loads((folder / "metadata.json").read_text())
    assert told["reading"]["least_history"] == 2
    from rec_trak.runs.finished import open_run

    assert len(open_run(folder).click_log().rows) == len(open_run(folder).results.scores) < 24
