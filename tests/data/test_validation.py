"""Laws of what is validated on: impressions whole, as they were shown, in every format that has them."""

import numpy as np
import pytest
from support.mind import write_mind
from support.tiny import write_tree

from rec_trak.config.reading import Reading
from rec_trak.data.validation import find_validation, read_validation
from rec_trak.errors import DataError


def test_mind_impressions_are_whole(tmp_path):
    """Law: one row an impression with all its candidates, the clicked ones first, and none drawn."""
    folder = write_mind(tmp_path / "dev")
    lines = [
        "1\tu1\t11/11/2019 2:01:00 AM\tn1 n2\tn3-0 n4-1 n5-0 n6-1 n7-0 n0-0",
        "2\tu2\t11/11/2019 2:01:00 AM\t\tn5-0 n6-0",
        "3\tu2\t11/11/2019 2:01:00 AM\tn1\tn5-1",
    ]
    (folder / "behaviors.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    articles, shown = read_validation(folder, None, "val_clean")
    names = [[articles.ids[a] for a in shown.candidates[i]] for i in range(3)]
    assert names == [["n4", "n6", "n3", "n5", "n7", "n0"], ["n5", "n6"], ["n5"]]
    assert [shown.labels[i].tolist() for i in range(3)] == [[1, 1, 0, 0, 0, 0], [0, 0], [1]]


def test_pairwise_impressions_are_the_groups(tmp_path):
    """Law: one row a group of the CSV, whether or not it has a click or another candidate."""
    tree = write_tree(tmp_path / "data")
    train = (tree / "models" / "train_clean.csv").read_text(encoding="utf-8").splitlines()
    alone = next(line for line in train if line.startswith("u20,"))  # the first of several candidates
    (tree / "models" / "val_clean.csv").write_text("\n".join([*train[:5], alone]) + "\n", encoding="utf-8")
    _, shown = read_validation(tree, None, "val_clean")
    assert sum(shown.candidates.lengths) == 5
    assert [shown.labels[i].tolist() for i in np.flatnonzero(shown.user_ids == "u20")] == [[0]]


def test_what_has_no_impressions(tmp_path):
    """Law: rows that a preprocessing drew are not taken for impressions, and a missing log is named."""
    with pytest.raises(DataError, match=r"`data_format` parsed holds rows, not whole impressions"):
        read_validation(tmp_path, None, "val_clean", Reading("parsed"))
    with pytest.raises(DataError, match="no click log"):
        read_validation(write_tree(tmp_path / "data"), None, "val_clean")


def test_the_set_that_belongs_to_a_tree(tmp_path):
    """Law: the val_ log beside the training one, the first name first; MIND's dev folder in it or beside it; else
    None."""
    tree = write_tree(tmp_path / "data")
    names = ("val_clean", "val_poisoned")
    assert find_validation(tree, None, names, "pairwise") is None
    for name, rows in (("val_poisoned", 9), ("val_clean", 5)):
        lines = (tree / "models" / "train_clean.csv").read_text(encoding="utf-8").splitlines()[:rows]
        (tree / "models" / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        assert find_validation(tree, None, names, "pairwise")[2].name == f"{name}.csv"
    train = write_mind(tmp_path / "MINDsmall_train")
    assert find_validation(train, None, names, "mind") is None
    beside = write_mind(tmp_path / "MINDsmall_dev")
    articles, shown, clicks = find_validation(train, None, names, "mind")
    assert (clicks, len(shown), len(articles)) == (beside / "behaviors.tsv", 12, 8)
    inside = write_mind(train / "val_clean")
    assert find_validation(train, None, names, "mind")[2] == inside / "behaviors.tsv"
