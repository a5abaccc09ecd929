"""The first screen: what it says is what the numbers say, of any run, in at most ten lines."""

import json
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from support import page_world

from rec_trak.errors import DataError
from rec_trak.page.advice import how_sure
from rec_trak.page.page import write_page
from rec_trak.page.promoted import promoted, suspected
from rec_trak.page.rows import known_titles
from rec_trak.page.summary import FIRST, offered, picture, ten_lines
from rec_trak.runs.finished import open_run
from rec_trak.trust.arrays import LEAST_ROWS

RETRAINED = {"name": "<s>promoted", "verdict": "", "plain": "It predicts.", "bears_out": True, "stale": True}
MISSING = {"trust": None, "validation": None, "suspects": None, "detection": None, "comparison": None}


def lines_of(run, sections=MISSING) -> dict[str, list]:
    """Name -> parts."""
    opened = open_run(run)
    sets = opened.target_sets()
    return {line["name"]: line["parts"] for line in ten_lines(opened, sets, known_titles(opened), sections, ["a", "b"])}


def plain(parts: list) -> str:
    return "".join(part if isinstance(part, str) else part["text"] for part in parts)


def named(parts: list, kind: str) -> list[str]:
    return [part["id"] for part in parts if not isinstance(part, str) and part["kind"] == kind]


def test_names_are_those_of_the_strongest_clicks(tmp_path):
    """Law: the articles and users that most of the first rows have, and the first three clicks, against a count."""
    run = page_world.write_everything(tmp_path)[0]
    told = open_run(run).target_set()
    order = [i for i in np.argsort(-told.scores, kind="stable")[:FIRST].tolist() if told.scores[i] > 0]
    lines = lines_of(run)
    for name, column, kind in (("Articles", "article_id", "article"), ("Users", "user_id", "user")):
        counts = Counter(told.rows[column].iloc[order]).most_common(3)
        assert named(lines[name], kind) == [identity for identity, _ in counts]
        assert all(re.search(rf"\({count}(, fake|, real)?\)", plain(lines[name])) for _, count in counts)
    assert named(lines["Clicks"], "user") == told.rows["user_id"].iloc[order[:3]].tolist()
    assert all(f"(row {row})" in plain(lines["Clicks"]) for row in order[:3])
    assert "4 recommendations “<s>promoted” of" in plain(lines["Asked"])
    assert len(lines) <= 10


def test_the_picture_adds_up(tmp_path):
    """Law: bars are sums over the clicks on an article, the largest and the lowest, as long as they are large."""
    told = open_run(page_world.write_everything(tmp_path)[0]).target_set()
    drawn = picture(told, {})
    sums = told.rows.whole().assign(score=told.scores.astype(float)).groupby("article_id")["score"].sum()
    assert [bar["sum"] for bar in drawn["bars"]] == pytest.approx([sums[bar["article_id"]] for bar in drawn["bars"]])
    assert drawn["bars"][0]["sum"] == pytest.approx(sums.max())
    assert drawn["bars"][-1]["sum"] == pytest.approx(sums.min())
    for bar in drawn["bars"]:
        assert bar["width"] == pytest.approx(100 * abs(bar["sum"]) / (sums.max() - sums.min()), abs=0.01)
        edge = bar["start"] if bar["sum"] > 0 else bar["start"] + bar["width"]
        assert edge == pytest.approx(drawn["zero"], abs=0.02)


@pytest.mark.parametrize("scores", [[2.0], [-1.0], [0.0]])
def test_one_click_and_none_with_influence(tmp_path, scores):
    """Law: a run of one row, or without a positive score, has a first screen too."""
    rows = page_world.write_run(tmp_path / "run", np.concatenate([scores, -np.ones(page_world.N - 1)]))
    lines = lines_of(rows)
    assert ("No click has a positive influence." in plain(lines["Clicks"])) == (scores[0] <= 0)
    assert not {"Articles", "Users", "Promoted"} & lines.keys()
    assert plain(lines["Next"]).startswith("Ask about recommendations")
    write_page(rows)


@pytest.mark.parametrize(
    ("margins", "said"),
    [
        ([1.0, 2.0], ""),
        ([1.0, -1.0], " In 1 of them"),
        ([-1.0, -2.0], " In none of them"),
        ([-1.0], " The model gives"),
    ],
)
def test_how_often_the_model_itself_offers_what_is_explained(margins, said):
    """Law: counted where it is not all of the targets, in words that fit one."""
    told = offered(pd.DataFrame({"margin": margins}), len(margins))
    assert told.startswith(said)
    assert bool(told) == bool(said)


@pytest.mark.parametrize(("rows", "said"), [(LEAST_ROWS - 1, "Too few clicks"), (LEAST_ROWS, "Nobody has judged")])
def test_few_clicks_are_not_sent_to_be_judged(tmp_path, rows, said):
    """Law: where trust.py would refuse, the page does not name it."""
    run = SimpleNamespace(folder=tmp_path, results=SimpleNamespace(scores=np.ones(rows)))
    assert plain(how_sure(run, [], MISSING)).startswith(said)


def test_what_is_not_to_be_used_is_not_acted_on(tmp_path):
    """Law: the advice follows the verdict on what was asked; an earlier validation says that it is one."""
    run = page_world.write_everything(tmp_path)[0]
    line = {"folder": "targets/<s>promoted", "word": "do not use", "reason": "noise", "improvement": "more members"}
    checked = {"verdict": "", "sets": [RETRAINED]}
    lines = lines_of(run, MISSING | {"trust": {"lines": [line]}, "validation": checked})
    assert plain(lines["Next"]) == "Do not act on this ranking. Better: more members."
    assert plain(lines["How sure"]).startswith("do not use: other random numbers")
    assert plain(lines["Retrained"]).startswith("It predicts. That was an earlier ranking: run `scripts/validate.py`")


def test_nothing_is_removed_by_a_ranking_that_retraining_does_not_bear_out(tmp_path):
    """Law: where the retraining of this very ranking says no, the next step is a better ranking and no removal."""
    run = page_world.write_everything(tmp_path)[0]
    for stale, bears_out, removes in ((False, False, False), (False, True, True), (True, False, True)):
        said = {"verdict": "", "sets": [RETRAINED | {"stale": stale, "bears_out": bears_out}]}
        told = plain(lines_of(run, MISSING | {"validation": said})["Next"])
        assert ("--output" in told) == removes
        assert told.startswith("Remove nothing by this ranking yet") != removes


def test_what_looks_injected_is_named_and_taken_out_on_trial(tmp_path):
    """Law: the first rows of the suspicion order, with their users as links, and a command for this folder."""
    run = page_world.write_everything(tmp_path)[0]
    rows = [{"sample_idx": i, "user_id": f"<u>{i % 8}</u>", "poisoned": {7: 1, 3: 0}.get(i)} for i in (7, 3, 21)]
    told = {"rows": 9, "through": "clicks on", "articles": [{"id": "n0", "title": "A"}], "first_rows": rows}
    found = {"suspicion": told, "why": "how alike they read", "plain": "Of 3, 2.", "answer": [], "verdict": ""}
    found["promoted"] = {"articles": ["n0"], "by": "given", "injected": None, "among": None}
    lines = lines_of(run, MISSING | {"detection": found})
    assert named(lines["Injected"], "user") == ["<u>7</u>", "<u>3</u>", "<u>5</u>"]
    assert plain(lines["Promoted"]).endswith("looked for on “n0”, as `detect.py` was asked to.")
    assert plain(lines["Injected"]).startswith(
        "Of 9 clicks on this article, those that look most injected: user <u>7</u> (row 7, injected), user <u>3</u> "
        "(row 3, not injected), user <u>5</u> (row 21). "
    )
    assert named(lines["Injected"], "row") == ["7", "3", "21"]
    assert plain(lines["Injected"]).endswith(". The order is by how alike they read. Of 3, 2.")
    assert "Remove on trial rows 7, 3, 21" in plain(lines["Next"])
    assert f"--results_dir {run} --by suspicion --top 3 --output NEW.csv" in plain(lines["Next"])
    cases = (([], False, "Nothing says that"), ([], True, "Remove"), (["n1"], False, "Remove"))
    for articles, measured, begin in cases:
        sections = {"suspects": {"judged": 9, "articles": articles}, "detection": found | {"measured": measured}}
        assert plain(lines_of(run, MISSING | sections)["Next"]).startswith(begin)


@pytest.mark.parametrize(
    ("articles", "asked", "said"),
    [
        (None, [], "Nobody has looked: `python scripts/suspects.py --results_dir "),
        ([], [], "No article stands out: of 30 with clicks enough to judge, none is clicked, read or passed over by "),
        (
            ["n1"],
            [],
            "Of 30 articles with clicks enough to judge, one stands out, which unusual users click, read or pass over",
        ),
        (
            ["n1", "n2"],
            ["n2", "n1"],
            "Of 30 articles with clicks enough to judge, 2 stand out, which unusual users click",
        ),
    ],
)
def test_which_article_may_be_promoted(tmp_path, articles, asked, said):
    """Law: what suspects.json of this scoring says, that nothing stands out too, or that nobody looked; the articles
    that injected clicks were looked for on are named where they are others."""
    run = page_world.write_everything(tmp_path)[0]
    if articles is not None:
        told = {"judged": 30, "suspicious": [{"article_id": a} for a in articles]}
        (run / "suspects.json").write_text(json.dumps(told), encoding="utf-8")
        page_world.claim(run)
    opened = open_run(run)
    about = {"by": "targets", "injected": None, "among": None}
    line = promoted(opened, suspected(opened), {"promoted": about | {"articles": asked}}, {})
    assert plain(line).startswith(said)
    assert named(line, "article") == (articles or [])
    other = promoted(opened, suspected(opened), {"promoted": about | {"articles": ["n7"]}}, {})
    assert plain(other).endswith(" Injected clicks were looked for on “n7”, which the targets are about.")
    known = about | {"articles": ["n7"], "injected": 5, "among": 4}
    told = plain(promoted(opened, suspected(opened), {"promoted": known}, {}))
    said = f"{said[:1].lower()}{said[1:]}"
    assert told.startswith(f"By the labels 4 of the 5 injected clicks are on “n7”. From the click log alone: {said}")
    if articles:
        told = plain(promoted(opened, suspected(opened), {"promoted": known | {"articles": articles}}, {}))
        assert f"{told.count('n1')} {told.count(': the same.')}" == "1 1"


@pytest.mark.parametrize("content", ["{}", '{"judged": "x", "suspicious": []}', '{"judged": 3, "suspicious": [4]}'])
def test_suspects_that_cannot_be_read_are_told(tmp_path, content):
    """Law: a damaged suspects.json is one line that says which command makes it again."""
    run = page_world.write_run(tmp_path / "run")
    (run / "suspects.json").write_text(content, encoding="utf-8")
    page_world.claim(run)
    with pytest.raises(DataError, match=r"suspects\.json: cannot be read .* Run scripts/suspects\.py again\."):
        suspected(open_run(run))
