"""Laws of names: a data set of a tree, a path, what a mistyped name is told, and what results are called."""

import shutil

import pytest
from support.logs import write_adressa, write_ebnerd, write_prepared
from support.mind import write_mind
from support.tiny import write_tree

from rec_trak.data.places import (
    click_log_path,
    data_format,
    data_sets,
    log_of_impressions,
    plain_name,
    validation_name,
)
from rec_trak.errors import DataError


@pytest.fixture
def tree(tmp_path):
    tree = write_tree(tmp_path / "data")
    shutil.copy(tree / "models" / "train_clean.csv", tree / "models" / "train_corrected.csv")
    return tree


def test_any_data_set_of_a_tree(tree):
    """Law: a name is a CSV of the tree, with or without its ending; a path may go through folders of the tree."""
    wanted = tree / "models" / "train_corrected.csv"
    for name in ("train_corrected", "train_corrected.csv", "models/train_corrected.csv", str(wanted)):
        assert click_log_path(tree, name).samefile(wanted)
        assert data_format(tree, name) == "pairwise"
        assert plain_name(name) == "train_corrected"


def test_a_path_from_the_working_directory(tree, tmp_path, monkeypatch):
    """Law: what is no path below the tree is one from the working directory, a file or a folder that holds a log."""
    monkeypatch.chdir(tmp_path)
    write_mind(tmp_path / "MINDsmall_train")
    for name in ("MINDsmall_train/behaviors.tsv", "./MINDsmall_train"):
        assert data_format(tree, name) == "mind"
        assert click_log_path(tree, name).samefile("MINDsmall_train/behaviors.tsv")
        assert plain_name(name) == "MINDsmall_train"
    (tmp_path / "train_corrected").mkdir()  # a mere name is never a folder of the working directory
    assert data_format(tree, "train_corrected") == "pairwise"


def test_formats_are_found(tmp_path):
    """Law: what lies in a tree says its format; MIND and pairwise go first; every usual layout is found."""
    trees = {
        "ebnerd": write_ebnerd(tmp_path / "ebnerd_small"),
        "adressa": write_adressa(tmp_path / "week"),
        "adressa_newsreclib": write_prepared(tmp_path / "Adressa_one_week"),
        "mind": write_mind(tmp_path / "MINDsmall_train"),
        "pairwise": write_tree(tmp_path / "data"),
    }
    for form, tree in trees.items():
        assert data_format(tree, "train_clean") == form
        assert click_log_path(tree, "train_clean").exists()
    assert click_log_path(trees["ebnerd"] / "train", "train_clean").parent.name == "train"
    assert click_log_path(trees["ebnerd"], "val_clean").parent.name == "validation"
    assert click_log_path(trees["ebnerd"], "validation").parent.name == "validation"
    write_mind(trees["ebnerd"] / "train_clean")
    assert data_format(trees["ebnerd"], "train_clean") == "mind"
    assert data_format(trees["ebnerd"], "train_clean", "ebnerd") == "ebnerd"


def test_a_mistyped_name(tree):
    """Law: the data sets that are there are named, and the one that was meant."""
    assert data_sets(tree) == ["train_clean", "train_corrected", "train_poisoned"]
    with pytest.raises(
        DataError, match=r"no click log. Got neither models/train_corected.csv or .* Did you mean 'train_"
    ):
        click_log_path(tree, "train_corected")
    with pytest.raises(DataError, match="There are: train_clean, train_corrected, train_poisoned. Give one"):
        click_log_path(tree, "xyz")


def test_a_path_that_leads_nowhere(tree, tmp_path, monkeypatch):
    """Law: a path is told from a name: what was meant in its folder, and the data sets that there are."""
    monkeypatch.chdir(tmp_path)
    for name in ("train_corected.csv", "models/train_corected.csv", "data/models/train_corected.csv"):
        with pytest.raises(DataError, match=r"There are: train_clean, .* Did you mean '.*train_corrected.csv'\?"):
            click_log_path(tree, name)
    with pytest.raises(
        DataError, match="nowhere/x.csv: no click log. Got a path that is neither below .* Mend `--data"
    ):
        click_log_path(tree, "nowhere/x.csv")
    with pytest.raises(DataError, match="no click log is named. Got '' as `--dataset_type`"):
        click_log_path(tree, "")
    with pytest.raises(DataError, match=r"no click log. Got no dev/behaviors.tsv, expected it. There are"):
        click_log_path(tree, "dev", "mind")


def test_a_mistyped_name_is_never_the_only_log(tmp_path):
    """Law: a folder that is one log has the usual names alone; any other name is none, also in the other formats."""
    for tree in (write_mind(tmp_path / "m"), write_prepared(tmp_path / "p") / "train", write_adressa(tmp_path / "a")):
        assert click_log_path(tree, "train_poisoned") == click_log_path(tree, "train_clean")
        with pytest.raises(DataError, match="There are: train_clean.* Did you mean 'train_clean'"):
            click_log_path(tree, "train_claen")


def test_no_tree(tmp_path):
    """Law: where there is nothing to name, the path of the data is what is wrong."""
    with pytest.raises(DataError, match="expected one of them. Check `data_path`"):
        click_log_path(tmp_path, "train_clean")
    with pytest.raises(DataError, match="Got no folder with a click log, expected one. Check `data_path`"):
        click_log_path(tmp_path / "gone", "train_clean")


def test_names_of_results():
    """Law: a data set's name stands; of a path its last part does, of `behaviors` files their folder's."""
    names = {
        "train_clean": "train_clean",
        "v1.2": "v1.2",
        "a/b/train_x.csv": "train_x",
        "eb/train/behaviors.parquet": "train",
        "behaviors.tsv": "behaviors",
        "a/train/behaviors_42.tsv": "train",
        "a b/c d": "c_d",
        "../..": "log",
    }
    assert {name: plain_name(name) for name in names} == names


def test_the_validation_set_beside_it():
    """Law: `val` for the last `train` of a name; a name that does not say what it is has none, least of all itself."""
    assert validation_name("train_clean") == "val_clean"
    assert validation_name("trainers/train_x.csv") == "trainers/val_x.csv"
    assert validation_name("corrected") is None


def test_logs_of_impressions(tmp_path):
    """Law: a folder's log, or the log itself; Adressa's events are none."""
    mind = write_mind(tmp_path / "m")
    assert log_of_impressions(mind) == ("mind", mind / "behaviors.tsv")
    assert log_of_impressions(mind / "behaviors.tsv") == ("mind", mind / "behaviors.tsv")
    prepared = write_prepared(tmp_path / "p") / "dev"
    assert log_of_impressions(prepared) == ("adressa_newsreclib", prepared / "behaviors_42.tsv")
    with pytest.raises(DataError, match="no log of impressions. Got none of behaviors.tsv, behaviors.parquet"):
        log_of_impressions(write_adressa(tmp_path / "a"))
