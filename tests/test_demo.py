"""The demo on a small world: every step runs, and what it prints is what it found."""

import contextlib
import os
import re
from dataclasses import replace

import pytest
from support.small_world import SMALL as SMALLEST

from rec_trak.demo import MARK, WRITTEN, run_demo
from rec_trak.errors import ConfigError, StoreError

SMALL = replace(SMALLEST, train_users=70)  # enough rows for the demo's top 100


def test_the_whole_job_on_a_small_world(tmp_path):
    """Rankings, figures and comparison are written, and the planted rows are counted."""
    folder = tmp_path / "demo"
    steps = []
    found = run_demo(folder, 3, steps.append, SMALL)
    assert len(steps) == 5
    assert all(path.is_file() for path in found.paths)
    everything = found.detection["questions"]["everything"]
    auroc = {line["ranking"]: line["auroc"] for line in everything["rankings"]}
    told = [name for name in auroc if name.startswith("influence on the targets")]
    assert told
    assert all(auroc[name] > auroc["random"] for name in told)
    assert found.page.path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert found.page.facts
    assert next(iter(found.verdicts)) == "self-influence"
    assert any(path.name == "trust.csv" for path in found.paths)
    assert set(found.top["poisoned"]) <= {"0", "1"}
    _check_result_files(folder / "results" / "poisoned_train_poisoned")
    assert found.world.counts["poisoned"] > 0


RANKED = "rank,sample_idx,score,label,category,user_id,article_id,title,source_lines,"
ROWS = "sample_idx,user_id,history_ids,article_id,occurrence,other_candidates,label,title,source_lines,history_read,"
ENDS = "target,rank,sample_idx,score,label,user_id,article_id,title,source_lines"
SUMS = {"by_article": "article_id,title,label,rows,sum,mean", "by_user": "user_id,rows,sum,mean"}
SUMS |= {"by_history_article": SUMS["by_article"], "articles": "article_id,title,label,category,clicks"}
RESULTS = {
    "": SUMS | dict.fromkeys(("ranking_full", "ranking_results"), f"{RANKED}leverage,q") | {
        "rows": f"{ROWS}leverage,q", "classes": "label,rows,low,median,high", "member_agreement": "a,b,value",
        "suspicion": "rank,sample_idx,user_id,article_id,title,source_lines,suspicion,co_reading,copies,unbacked,"
                     "influence",
    },
    "targets/promoted": SUMS | dict.fromkeys(("ranking_full", "ranking_results"), f"{RANKED}renormalised,kernel") | {
        "rows": f"{ROWS}renormalised,kernel", "proponents": ENDS, "opponents": ENDS,
        "targets": "target,user_id,article_id,title,label,margin,history_ids,other_candidates,source_lines",
    },
}  # fmt: skip
OTHERS = {
    "": {"trak_scores.npy", "trak_labels.npy", "metadata.json", "score_distribution.png", "top_influential_samples.png",
         "trust.csv", "trust.json", "detection.csv", "detection.json", "suspects.csv", "suspects.json",
         "detection_curves.png", "report.html", "belongs.json"},
    "targets/promoted": {"trak_scores.npy", "trak_labels.npy", "metadata.json", "score_distribution.png",
                         "top_influential_samples.png", "trust.csv", "trust.json", "belongs.json"},
}  # fmt: skip


def _check_result_files(folder):
    """Names and columns are a promise to whoever reads them: a change here is a change for users."""
    for place, tables in RESULTS.items():
        there = {path.name for path in (folder / place).iterdir() if path.is_file()}
        explained = {name for name in there if re.fullmatch(r"explain_\d+_\d+\.csv", name)}
        assert len(explained) == (place == "targets/promoted"), "the strongest click's"
        there -= explained
        assert there == OTHERS[place] | {f"{name}.csv" for name in tables}
        for name, columns in tables.items():
            with open(folder / place / f"{name}.csv", encoding="utf-8") as file:
                assert file.readline().rstrip("\n") == columns, name


def held(folder):
    """Every file below a folder with its content; of a link, where it leads."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


class StepError(Exception):
    """Instead of a kill."""


def stopped_at(step):
    """A `say` that ends the demo before its step number `step`."""
    left = iter(range(step))

    def say(line):
        if next(left, None) is None:
            raise StepError

    return say


def users_own(folder):
    """A working folder of a user, as the README's commands leave it."""
    for name in ("data", "models", "results", "comparison"):
        (folder / name).mkdir()
        (folder / name / "mine").write_text("mine")
    (folder / "train.yaml").write_text("architecture: nrms")


def test_a_users_folders_are_left_alone(tmp_path):
    """Beside any train.yaml, in `.` too: nothing is removed or written without the demo's own mark."""
    users_own(tmp_path)
    before = held(tmp_path)
    with contextlib.chdir(tmp_path):
        for folder in (".", tmp_path):
            with pytest.raises(ConfigError, match=r"holds other files. Got no .rec_trak_demo.*Give another"):
                run_demo(folder, say=stopped_at(0))
    assert held(tmp_path) == before


@pytest.mark.parametrize("name", [*WRITTEN, MARK])
def test_no_link_is_followed(tmp_path, name):
    """A link where the demo writes is refused by name, in its own folder too, and leads to an unchanged place."""
    (tmp_path / "mine").mkdir()
    users_own(tmp_path / "mine")
    demo = tmp_path / "demo"
    with pytest.raises(StepError):
        run_demo(demo, say=stopped_at(0))
    (demo / name).unlink(missing_ok=True)
    (demo / name).symlink_to(tmp_path / "mine" / ("train.yaml" if "." in name else name))
    before = held(tmp_path)
    with pytest.raises(ConfigError, match=f"{name} is a link"):
        run_demo(demo, say=stopped_at(0))
    assert held(tmp_path) == before


def test_a_linked_or_taken_folder_is_refused(tmp_path):
    """A link to a folder is not the demo's, a file is no folder, and a mark that only looks like one is none."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="link is a link"):
        run_demo(tmp_path / "link", say=stopped_at(0))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="file is a file"):
        run_demo(tmp_path / "file", say=stopped_at(0))
    (tmp_path / "real" / MARK).write_text("something else")
    with pytest.raises(ConfigError, match="holds other files"):
        run_demo(tmp_path / "real", say=stopped_at(0))


def test_two_demos_in_one_folder(tmp_path):
    """The second is refused by name, and removes nothing of what the first is writing."""
    demo = tmp_path / "demo"

    def say(line):
        before = held(demo)
        with pytest.raises(StoreError, match="in use. Got a lock held by process .* give another --folder"):
            run_demo(demo, say=stopped_at(0))
        assert held(demo) == before
        raise StepError

    with pytest.raises(StepError):
        run_demo(demo, say=say)


@pytest.mark.long
@pytest.mark.parametrize("step", range(4))
def test_a_demo_that_was_stopped_goes_on_from_its_leftovers(tmp_path, step):
    """Whatever it had written is replaced; a mark half written counts; other files in its folder stay."""
    demo = tmp_path / "demo"
    with pytest.raises(StepError):
        run_demo(demo, 3, stopped_at(step), SMALL)
    (demo / "mine").write_text("mine")
    (demo / MARK).write_bytes((demo / MARK).read_bytes()[: 20 * step])
    (demo / "data" / "stale").parent.mkdir(exist_ok=True)
    (demo / "data" / "stale").write_text("of the first run")
    with pytest.raises(StepError):
        run_demo(demo, 3, stopped_at(1), SMALL)
    assert (demo / "mine").read_text() == "mine"
    assert not (demo / "data" / "stale").exists()
    assert (demo / "train.yaml").is_file()
