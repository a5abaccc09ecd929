"""What is said of each file of a run, for every kind of harm."""

import shutil

import pytest
from support import finished
from support.commands import call
from support.marked import sum_again

from rec_trak.errors import DataError
from rec_trak.runs.verifying import BAD, DAMAGED, FOREIGN, GOOD, MISSING, UNRECORDED, verify_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return finished.finished_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made, tmp_path):
    """A run to harm, with its save directory in it."""
    folder = tmp_path / "run"
    shutil.copytree(made, folder)
    for path in folder.rglob("metadata.json"):
        if path.parent.name != "store":
            path.write_text(path.read_text().replace(str(made / "store"), str(folder / "store")))
            sum_again(path.parent, "metadata.json")
    return folder


def words(folder):
    return {one.path: one.word for one in verify_run(folder)}


def test_a_run_that_nobody_touched_is_good(made):
    """Every file is named once, none is foreign, and what has no check sum is said."""
    found = verify_run(made)
    assert len({one.path for one in found}) == len(found)
    assert {one.word for one in found} <= {GOOD, UNRECORDED}
    named = {one.path for one in found}
    assert {"trak_scores.npy", "metadata.json", "store/0/grads.mmap", "store/rec_trak.json"} <= named


HARMED = ["trak_scores.npy", "trak_labels.npy", "rows.csv", "ranking_full.csv", "metadata.json", "store/0/grads.mmap"]


@pytest.mark.parametrize("name", HARMED)
def test_one_flipped_bit_is_damage_of_that_file(run, name):
    """And of no other."""
    before, path = words(run), run / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    assert {key for key, word in words(run).items() if word != before.get(key)} == {name}
    assert words(run)[name] == DAMAGED


def test_what_the_page_leaves_is_ours(run):
    """It stands beside the scores without being of one scoring, and is not foreign."""
    before = words(run)
    assert call("report", "--results_dir", run).returncode == 0
    after = words(run)
    assert {"report.html", "classes.csv"} <= {name for name in after if name not in before}
    assert FOREIGN not in after.values()


def test_missing_and_foreign(run):
    """A map, a marker, a recorded file that are gone; files that nobody of ours wrote."""
    (run / "rows.csv").unlink()
    (run / "store" / "0" / "out_to_loss.mmap").unlink()
    (run / "store" / "0" / "blocks" / "0000000.json").unlink()
    (run / "notes.txt").write_text("mine")
    (run / "store" / "0" / "mine.npy").write_text("mine")
    found = words(run)
    expected = {
        **dict.fromkeys(("rows.csv", "store/0/out_to_loss.mmap", "store/0/blocks"), MISSING),
        **dict.fromkeys(("notes.txt", "store/0/mine.npy"), FOREIGN),
    }
    assert {key: found[key] for key in expected} == expected
    assert {key for key, word in found.items() if word in BAD} == {k for k, w in expected.items() if w == MISSING}


def test_the_command_ends_with_1_where_something_is_wrong(run):
    """0 for a good run, with a line a file and the sum; another folder is refused."""
    done = call("verify", run)
    assert done.returncode == 0
    assert "good" in done.stdout.splitlines()[-1]
    (run / "trak_labels.npy").unlink()
    done = call("verify", run)
    assert done.returncode == 1
    assert any(line.split()[:2] == ["missing", "trak_labels.npy:"] for line in done.stdout.splitlines())
    with pytest.raises(DataError, match="no results and no save directory"):
        verify_run(run.parent)
