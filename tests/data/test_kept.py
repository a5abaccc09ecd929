"""A log that was read before gives the same tables from the cache; anything else is read anew."""

import os
import warnings

import numpy as np
import pytest
from support.logs import write_ebnerd, write_prepared
from support.mind import write_mind
from support.tiny import write_tree

from rec_trak.config.reading import Reading
from rec_trak.data import kept, sources
from rec_trak.data.sources import read_data
from rec_trak.errors import DataError, RecTrakWarning

TREES = {"pairwise": write_tree, "mind": write_mind, "ebnerd": write_ebnerd, "adressa_newsreclib": write_prepared}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, for logs of any size."""
    monkeypatch.setenv("REC_TRAK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("rec_trak.data.kept.LEAST", 0)
    return tmp_path / "cache" / "tables"


@pytest.fixture
def mind(tmp_path):
    return write_mind(tmp_path / "mind")


@pytest.fixture
def readings(monkeypatch):
    """A list that grows by one whenever a log is read."""
    met, real = [], sources._read
    monkeypatch.setattr(sources, "_read", lambda *args: met.append(args) or real(*args))
    return met


def assert_same(found, expected):
    """Every field of both tables, dtypes too."""
    for one, other in zip(found, expected, strict=True):
        for name, wanted in vars(other).items():
            got = getattr(one, name)
            if name in ("history", "candidates", "labels"):
                for part in ("values", "offsets"):
                    assert getattr(got, part).dtype == getattr(wanted, part).dtype
                    np.testing.assert_array_equal(getattr(got, part), getattr(wanted, part))
            elif isinstance(wanted, np.ndarray):
                assert got.dtype == wanted.dtype
                np.testing.assert_array_equal(got, wanted)
            elif name != "position":
                assert got == wanted, name


def read(tree, **keys):
    return read_data(tree, None, "train_clean", Reading(**keys))


def read_and_not_kept(tree, monkeypatch, **keys):
    """The tables as a reader makes them, in memory of their own."""
    with monkeypatch.context() as patch:
        patch.setattr("rec_trak.data.kept.LEAST", 2**60)
        return read(tree, **keys)


def damaged(path, change):
    whole = path.read_bytes()
    path.write_bytes(change(whole))
    return whole


@pytest.mark.parametrize("form", TREES)
def test_both_times_the_same_tables_come_from_one_file(form, tmp_path, cache, readings, monkeypatch):
    """Of each format that is kept: those that its reader makes; the log is read once, what was read is not held beside
    the file, and parts of the rows are those of the rows as read."""
    if form == "ebnerd":
        pytest.importorskip("pyarrow")
    tree = tmp_path / "tree"
    TREES[form](tree)
    made = read_and_not_kept(tree, monkeypatch, data_format=form)
    readings.clear()
    some = np.arange(len(made[1]))[::-2]
    for _ in range(2):
        found = read(tree, data_format=form)
        assert_same(found, made)
        assert_same((found[1].subset(some),), (made[1].subset(some),))
        assert not found[1].history.values.flags.owndata
        assert not found[1].history.values.flags.writeable
    assert len(readings) == 1
    assert [path.suffix for path in cache.iterdir()] == [".tables"]


def test_small_logs_are_not_kept(mind, cache, monkeypatch):
    """They are read as quickly."""
    monkeypatch.undo()
    monkeypatch.setenv("REC_TRAK_CACHE", str(cache.parent))
    read(mind)
    assert not cache.exists()


CHANGES = {
    "the log": lambda tree: damaged(tree / "behaviors.tsv", lambda text: text.replace(b"u1", b"u9")),
    "the articles": lambda tree: damaged(tree / "news.tsv", lambda text: text.replace(b"world", b"sport")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_is_read_anew(change, mind, tmp_path, cache, readings):
    """By its bytes, though size and time of change are what they were; the old tables go, without a word."""
    read(mind)
    times = {path: path.stat() for path in mind.iterdir()}
    CHANGES[change](mind)
    for path, status in times.items():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read(mind)
    assert len(readings) == 2
    assert "u9" in found[1].user_ids or "sport" in found[0].subcategories
    assert_same(read(mind), found)
    assert len(readings) == 2
    assert len(list(cache.iterdir())) == 1


def test_each_way_of_reading_has_tables_of_its_own(mind, cache, readings):
    """Another number of negatives or seed gives other rows."""
    ways = [{"negatives": 2}, {"negatives": 4}, {"negatives": 2, "seed": 1}]
    first = [read(mind, **way) for way in ways]
    again = [read(mind, **way) for way in ways]
    assert len(readings) == len(list(cache.iterdir())) == 3
    for found, expected in zip(again, first, strict=True):
        assert_same(found, expected)
    assert not np.array_equal(first[0][1].candidates.values, first[2][1].candidates.values)


def test_another_version_of_the_readers_reads_anew(mind, readings, monkeypatch):
    """What an earlier build took from a log is not what this one would."""
    read(mind)
    monkeypatch.setattr("rec_trak.data.kept._code", lambda: "another")
    read(mind)
    assert len(readings) == 2


def test_a_warning_of_reading_comes_each_time(mind, readings):
    """A header line in the articles is told of whether or not they are read again."""
    news = mind / "news.tsv"
    header = "news_id\tcategory\tsubcategory\ttitle\tabstract\turl\ttitle_entities\tabstract_entities\n"
    news.write_text(header + news.read_text(encoding="utf-8"), encoding="utf-8")
    for _ in range(2):
        with pytest.warns(RecTrakWarning, match="line 1: a header line is left out") as told:
            read(mind)
        assert len(told) == 1
    assert len(readings) == 1


def test_a_log_that_is_refused_is_refused_each_time(mind, cache):
    """And nothing of it is kept."""
    with open(mind / "behaviors.tsv", "a", encoding="utf-8") as file:
        file.write("99\tu1\t11/11/2019\tn1\tn77-1 n2-0\n")
    for _ in range(2):
        with pytest.raises(DataError, match="unknown article id"):
            read(mind)
    assert not cache.exists()


DAMAGE = {
    "a flipped bit in an array": lambda whole: whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:],
    "a flipped bit in the header": lambda whole: whole[:60] + bytes([whole[60] ^ 1]) + whole[61:],
    "another hash": lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
    "half of it": lambda whole: whole[: len(whole) // 2],
    "nothing": lambda whole: b"",
    "another file": lambda whole: b"x" * len(whole),
    "more behind it": lambda whole: whole + b"more",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_told_of_and_made_again(damage, mind, cache, monkeypatch):
    """Whatever happened to it, the tables are right, and so is the file afterwards."""
    expected = read_and_not_kept(mind, monkeypatch)
    read(mind)
    (path,) = cache.iterdir()
    whole = damaged(path, DAMAGE[damage])
    with pytest.warns(RecTrakWarning, match=r"not the tables of this click log. Got .* made again; let nobody else"):
        assert_same(read(mind), expected)
    assert path.read_bytes() == whole


FORGED = {
    "an article that is not there": lambda tables: tables[1].candidates.values.__iadd__(100),
    "one below zero": lambda tables: tables[1].history.values.__isub__(100),
    "offsets that go back": lambda tables: tables[1].history.offsets.__setitem__(1, 30),
    "too few of them": lambda tables: tables[1].__dict__.update(is_fake=tables[1].is_fake[:-1]),
    "an article too many": lambda tables: tables[0].__dict__.update(titles=(*tables[0].titles, "more")),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_tables_that_do_not_fit_each_other_are_not_taken(forgery, mind, cache, monkeypatch):
    """Whatever hash stands behind them."""
    expected = read_and_not_kept(mind, monkeypatch)
    read(mind)
    (path,) = cache.iterdir()
    whole, forged = path.read_bytes(), sources._read("mind", mind / "behaviors.tsv", mind, None, Reading())
    FORGED[forgery](forged)
    kept._keep(path, whole.split(b'"key": "')[1][:32].decode(), forged, [])
    assert path.read_bytes() != whole
    with pytest.warns(RecTrakWarning, match="Got tables that do not fit each other"):
        assert_same(read(mind), expected)
    assert path.read_bytes() == whole


PUT_THERE = {
    "a link": lambda path, elsewhere: (path.rename(elsewhere), path.symlink_to(elsewhere)),
    "something that is no file": lambda path, _: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("what", PUT_THERE)
def test_what_is_no_file_is_not_taken(what, mind, cache, tmp_path):
    """A link is not followed, and a file takes its place."""
    expected = read(mind)
    (path,) = cache.iterdir()
    PUT_THERE[what](path, tmp_path / "elsewhere")
    with pytest.warns(RecTrakWarning, match=f"not the tables of this click log. Got {what}"):
        assert_same(read(mind), expected)
    assert path.is_file()
    assert not path.is_symlink()


def test_the_file_of_another_user_is_not_taken(mind, cache, monkeypatch):
    """Whoever can write to the folder could give it the right hash."""
    expected = read(mind)
    (path,) = cache.iterdir()
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
    else:
        monkeypatch.setattr("rec_trak.data.cache.os.geteuid", lambda: 12345)
    with pytest.warns(RecTrakWarning, match="Got a file of another user"):
        assert_same(read(mind), expected)


def test_a_file_that_goes_as_soon_as_it_is_written(mind, cache, monkeypatch):
    """Somebody cleans the folder: the log is read again."""
    made, real = read_and_not_kept(mind, monkeypatch), kept._keep
    monkeypatch.setattr(kept, "_keep", lambda path, *rest: (real(path, *rest), path.unlink())[0])
    assert_same(read(mind), made)
    assert not list(cache.iterdir())


def test_a_cache_that_cannot_be_written_is_warned_of(mind, tmp_path, monkeypatch):
    """The tables come all the same."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("REC_TRAK_CACHE", str(tmp_path / "file"))
    with pytest.warns(RecTrakWarning, match="as read is not kept for the next run .* Set REC_TRAK_CACHE"):
        found = read(mind)
    assert len(found[1]) == 12
