"""What the page says of trust.json: verdicts near the top, the numbers, nothing of older scores."""

import json
import shutil

import numpy as np
import pytest
from support import page_world

from rec_trak.errors import DataError
from rec_trak.page.page import write_page
from rec_trak.page.trust import COLUMNS, trust
from rec_trak.results.files import read_results
from rec_trak.runs.finished import open_run
from rec_trak.store.manifest import digest


def ranking(results, name="self-influence", folder="", **keys):
    """One ranking of trust.json."""
    numbers = dict.fromkeys(COLUMNS, 0.5) | {"other_target": None, "law": None}
    words = {"verdict": "indicative", "reason": "noise <b>is</b>", "improvement": "`lambda_rel` 3", "cost": "nothing"}
    return {
        "ranking": name,
        "folder": folder,
        "scores": digest(results.scores),
        "notes": ["<i>n</i>"],
        **words,
        **numbers,
        **keys,
    }


def content(rankings, **keys):
    """A trust.json."""
    row = {"sample_idx": 3, "user_id": "<u>3</u>", "article_id": "n3", "title": page_world.HOSTILE[0]}
    rows = [row | {"leverage": 0.95, "learnt_by_heart": True}]
    return {"rankings": rankings, "law": 1e-7, "law_told": "of 16 rows", "dominating": rows, "unseen": "Only <s>",
            "thresholds": {}, "seed": 0} | keys  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, and a target set below it."""
    return page_world.write_everything(tmp_path_factory.mktemp("trust"))[0]


@pytest.fixture
def run(made, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(made, tmp_path / "run")


def write(folder, told):
    """Put it into the run's folder."""
    (folder / "trust.json").write_text(json.dumps(told), encoding="utf-8")
    page_world.claim(folder)


def test_the_word_stands_on_the_first_screen_and_numbers_in_a_section(run):
    """Law: the word on what was asked, plainly, at the top; word, reason and advice of each ranking once below, texts
    of others as text; without the file, the command."""
    results = read_results(run)
    place = next((run / "targets").iterdir())
    told = read_results(place)
    write(run, content([ranking(results), ranking(told, "mean <x>", f"targets/{place.name}", verdict="do not use")]))
    text = write_page(run).path.read_text(encoding="utf-8")
    top = text[text.index("<body>") : text.index("<nav")]
    assert "do not use: other random numbers or trainings would give another order" in top
    assert "Do not act on this ranking. Better: <code><span>lambda_rel</span></code> 3." in top
    section = text[text.index('<section id="trust">') : text.index('<section id="glossary">')]
    assert section.index("indicative") < section.index("do not use")
    assert text.count("noise &lt;b&gt;is&lt;/b&gt;") == 2
    assert "it costs nothing" in section
    assert "Learnt by heart" in section
    assert "off by at most 1.0e-07" in section
    for hostile in ("<s>", "<i>n</i>", page_world.HOSTILE[0]):
        assert hostile not in section
    (run / "trust.json").unlink()
    text = write_page(run).path.read_text(encoding="utf-8")
    assert 'id="trust-verdicts"' not in text
    assert "python</span> <span>scripts/trust.py</span> <span>--results_dir" in text


def test_the_table_has_a_line_a_ranking_and_no_empty_column(run):
    """Law: columns that no ranking has are left out."""
    write(run, content([ranking(read_results(run)), ranking(read_results(run), "again")]))
    (table,) = trust(open_run(run))["tables"]
    assert table.total == 2
    headings = [column["heading"] for column in table.columns]
    assert COLUMNS["predicted"] in headings
    assert COLUMNS["other_target"] not in headings


def test_verdicts_on_other_scores_are_not_shown(run):
    """Law: scores that changed since, or a set that is gone, have no verdict."""
    results = read_results(run)
    old = [ranking(results, scores="0123"), ranking(results, "gone", "targets/gone")]
    write(run, content(old))
    assert trust(open_run(run)) is None
    write(run, content([*old, ranking(results)]))
    assert [line["ranking"] for line in trust(open_run(run))["lines"]] == ["self-influence"]
    np.save(run / "trak_scores.npy", results.scores[::-1])
    page_world.claim(run)
    assert trust(open_run(run)) is None


def test_what_was_not_checked_is_said(run):
    """Law: a law without a number says why; rows below 0.9 are not called learnt by heart."""
    told = content([ranking(read_results(run))], law=None, law_told="no checkpoint")
    told["dominating"][0] |= {"leverage": 0.2, "learnt_by_heart": False}
    write(run, told)
    found = trust(open_run(run))
    assert (found["law"], found["by_heart"]) == ("not checked: no checkpoint", 0)


@pytest.mark.parametrize("broken", [{"rankings": [{}]}, {"rankings": 3}, {}])
def test_another_file_of_that_name_is_refused(run, broken):
    """Law: named, with the command that writes it again."""
    write(run, broken)
    with pytest.raises(DataError, match="trust.json: cannot be read .*Run scripts/trust.py again"):
        trust(open_run(run))
