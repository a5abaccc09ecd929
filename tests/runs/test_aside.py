"""What in a results folder is of another scoring than the scores that it lies beside: never read, always named."""

import json

import pytest
from support import page_world

from rec_trak.errors import DataError
from rec_trak.page.reasons import asked_in
from rec_trak.page.targets import single_targets
from rec_trak.results.belongs import RECORD
from rec_trak.results.files import read_results
from rec_trak.runs.aside import again, own_file, stale_files

LISTS = ("opponents.csv", "proponents.csv", "targets.csv")


@pytest.fixture
def held(tmp_path):
    """A target set with the lists of its targets."""
    return read_results(next((page_world.write_everything(tmp_path)[0] / "targets").iterdir()))


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_another_scoring_are_left_aside(held, name):
    """As a process leaves them that is killed while a scoring's files take their places: the page has none of them."""
    assert len(single_targets(held, {})) == 3
    record = json.loads((held.folder / RECORD).read_text())
    for told in ({name: "0123456789abcdef " + record[name].split()[1]}, {}):
        others = {key: value for key, value in record.items() if key != name}
        (held.folder / RECORD).write_text(json.dumps(others | told))
        assert single_targets(held, {}) == []
        assert (asked_in(held, held) is None) == (name == "targets.csv")
        aside = f"set/{name} left aside: of an earlier scoring. scripts/score.py with --targets makes them again."
        assert list(stale_files(held, "set/")) == [aside]


def test_an_own_file_is_whole(held):
    """One of this scoring is found, one that was changed since is refused, and one that is not there is none."""
    assert own_file(held, "targets.csv") == held.folder / "targets.csv"
    assert own_file(held, "detection.json") is None
    (held.folder / "targets.csv").write_text("target\n")
    with pytest.raises(DataError, match=r"targets\.csv: damaged or changed.*Run scripts/score.py with --targets again"):
        own_file(held, "targets.csv")
    assert again("by_*.csv") == "Run scripts/score.py with --group_by again."
