"""Which rows look injected, without labels too: the order of the rule, by clicks, histories and what is shown."""

import json

import numpy as np
import pandas as pd
from detection.test_backing import with_a_past
from detection.test_baselines import impressions
from support import finished
from support.commands import call, fail
from support.finished import PROMOTED

from rec_trak.detection.baselines import holds
from rec_trak.detection.run import find_poison
from rec_trak.detection.stages import standard_ranks, summed
from rec_trak.detection.suspicion import (
    CLICKS,
    COLUMNS,
    HISTORIES,
    SHOWN,
    Suspicion,
    suspicion_of,
    suspicion_table,
    users_table,
)
from rec_trak.results.lines import Lines
from rec_trak.runs.finished import open_run


def without_labels(folder):
    """Take the column `poisoned` out of the click log of a finished run."""
    path = folder.parents[1] / "data" / "models" / "train_clean.csv"
    lines = finished.read(path)
    finished.write(path, [{key: value for key, value in line.items() if key != "poisoned"} for line in lines])


def test_without_labels_the_rows_in_question_are_ranked_all_the_same(own):
    """No column and none named: nothing is measured, the clicks on the article stand in the order of the rule, and
    clean.py removes them by it."""
    without_labels(own)
    result = call("detect", "--results_dir", own, "--promoted", PROMOTED)
    assert result.returncode == 0, result.stderr
    assert "How sure: nobody said which of these are injected" in result.stdout
    assert "Nobody says which rows are poisoned" in result.stdout
    content = json.loads((own / "detection.json").read_text())
    assert (content["questions"], content["labels"], content["n_poisoned"]) == ({}, None, None)
    assert not any("in history, then" in name for name in content["kinds"])  # what nobody asked takes no time
    table, log = pd.read_csv(own / "suspicion.csv"), open_run(own).click_log()
    clicks = np.flatnonzero(log.rows.clicked == log.articles.position[PROMOTED])
    assert sorted(table["sample_idx"]) == clicks.tolist()
    assert content["suspicion"]["first_rows"][0]["sample_idx"] == table["sample_idx"][0]
    for place, one in enumerate(content["suspicion"]["first_rows"]):
        assert one["places"] == {name: 1 + (table[name] > table[name][place]).sum() for name in one["places"]}
        assert one["poisoned"] is None
    rule = content["suspicion"]["rule"]
    assert list(one["places"]) == list(rule)
    assert (rule["co_reading"], rule["influence"]) == (1, 0.5)
    assert rule["copies"] >= 0.5
    ranked = sum(weight * standard_ranks(table[name].to_numpy()) for name, weight in rule.items())
    assert (np.diff(ranked) <= 1e-9).all()
    dry = call("clean", "--results_dir", own, "--by", "suspicion", "--top", 2, "--dry_run").stdout
    assert dry.startswith("2 rows go")
    first = (f" {row} " for row in table["sample_idx"][:2])
    assert all(word in dry for word in first)
    assert "out of range. Got 99" in fail("clean", "--results_dir", own, "--by", "suspicion", "--top", 99, "--dry_run")


def test_influence_on_other_articles_is_no_sign(folder):
    """Asked about an article that no target recommends, the rule does without influence, and a note says so."""
    log = open_run(folder).click_log()
    targets = pd.read_csv(open_run(folder).target_set().folder / "targets.csv", dtype=str)
    other = next(a for a in (log.articles.ids[a] for a in log.rows.clicked) if a not in set(targets["article_id"]))
    content = find_poison(folder, promoted=[other], draws=20).content
    assert list(content["suspicion"]["rule"]) == ["co_reading", "copies"]
    assert content["ranked_by"] in content["kinds"]
    assert any(note.startswith("The targets recommend none of the articles in question") for note in content["notes"])
    assert not any(
        "recommend none" in note for note in find_poison(folder, promoted=[PROMOTED], draws=20).content["notes"]
    )


def test_histories_are_asked_about_by_place(folder):
    """`--history` ranks the rows with the article in their history, by what they read alone."""
    found = find_poison(folder, promoted=[PROMOTED], draws=20, through=HISTORIES)
    log = open_run(folder).click_log()
    read = holds(log.rows.history, [log.articles.position[PROMOTED]])
    assert sorted(found.table["sample_idx"]) == np.flatnonzero(read).tolist()
    rule = found.content["suspicion"]["rule"]
    assert list(rule) == ["co_reading", "copies"]
    ranked = sum(weight * standard_ranks(found.table[name].to_numpy()) for name, weight in rule.items())
    assert (np.diff(ranked) <= 1e-9).all()
    assert found.content["answer"][0].startswith(f"Asked about: {read.sum()} rows with a history that holds n1 (")


def test_what_the_log_does_not_back_counts_where_it_is_unusual():
    """Bots with histories made up for one row come first by it; of bots that have clicked what they read nothing is
    said of it, and it is no part of the rule."""
    users, histories, clicked = with_a_past(range(80), 5)
    lines = list(
        zip([*users, *users[4:150:5]], [*histories, *histories[4:150:5]], [*clicked, *[201] * 30], strict=True)
    )
    rng = np.random.default_rng(0)
    made_up = [(f"b{i}", rng.permutation(200)[:5].tolist(), 201) for i in range(30)]
    found = suspicion_of(impressions(*map(list, zip(*lines, *made_up, strict=True))), 202, [201], CLICKS)
    assert found.weights["unbacked"] > 0.2
    assert found.signals["unbacked"][-30:].min() > found.signals["unbacked"][400:430].max()
    fewer = {name: weight for name, weight in found.weights.items() if name != "unbacked"}
    without = np.argsort(-summed(found.signals, fewer, found.among, found.raised))
    assert (found.order[:20] >= 430).sum() > (without[:20] >= 430).sum() + 5
    users, histories, clicked = with_a_past(range(80, 110), 5)
    past = [*zip(users, histories, clicked, strict=True), *zip(users[4::5], histories[4::5], [201] * 30, strict=True)]
    found = suspicion_of(impressions(*map(list, zip(*lines, *past, strict=True))), 202, [201], CLICKS)
    assert list(found.weights) == ["co_reading", "copies"]


def test_users_stand_by_their_most_suspicious_row():
    """With how many rows they have in question, and the suspicion of the first; the table is made some lines at a
    time, in the order of suspicion."""
    rows = Lines.of(pd.DataFrame({"sample_idx": range(5), "user_id": list("abbca")} | dict.fromkeys(COLUMNS[2:], "")))
    among, scores = np.array([True, True, True, False, True]), np.array([1.2, 1.5, 1.9, 0.9, 1.7])
    found = Suspicion(CLICKS, among, scores, {"copies": scores / 2}, {"copies": 1.0}, {})
    table = suspicion_table(found, rows)
    assert table["sample_idx"].tolist() == [2, 4, 1, 0]
    assert table.take([1], ["rank", "suspicion", "copies"]).to_numpy().tolist() == [[2, 1.7, 0.85]]
    assert users_table(table).to_numpy().tolist() == [["b", 2, 1, 1.9], ["a", 2, 2, 1.7]]


def test_slander_is_asked_about_by_what_is_shown(folder, tmp_path):
    """`--shown` ranks the rows that are shown the article and click another by loss and copies, and measures them."""
    log = open_run(folder).click_log()
    promoted = log.articles.position[PROMOTED]
    shown = np.flatnonzero(holds(log.rows.candidates, [promoted]) & (log.rows.clicked != promoted))
    labels = tmp_path / "labels.csv"
    labels.write_text("sample_idx\n" + "\n".join(map(str, shown[::2])) + "\n")
    found = find_poison(folder, promoted=[PROMOTED], draws=20, labels=labels, through=SHOWN)
    assert sorted(found.table["sample_idx"]) == shown.tolist()
    rule = found.content["suspicion"]["rule"]
    assert list(rule) == ["loss", "copies"]
    ranked = sum(weight * standard_ranks(found.table[name].to_numpy()) for name, weight in rule.items())
    assert (np.diff(ranked) <= 1e-9).all()
    told = found.content["questions"]["shown"]
    assert (told["rows"], told["poisoned"]) == (len(shown), len(shown[::2]))
    own = next(line for line in told["rankings"] if line["ranking"] == found.content["ranked_by"])
    assert own["kind"] == "model"
    asked, first, sure = found.content["answer"][:3]
    assert asked.startswith(f"Asked about: {len(shown)} clicks on others beside n1 (")
    assert "how little the model expects their clicks, and how nearly their histories are copies" in first
    assert f"in {100 * own['auroc']:.0f} of 100 pairs" in sure
    assert "not allowed with argument" in call("detect", "--results_dir", folder, "--shown", "--history").stderr


def test_an_article_that_nobody_touched_has_no_answer(folder):
    """The answer says so instead of naming rows."""
    log = open_run(folder).click_log()
    clicked = set(log.rows.clicked.tolist())
    quiet = next(name for a, name in enumerate(log.articles.ids) if a not in clicked)
    found = find_poison(folder, promoted=[quiet], draws=20)
    assert found.content["answer"] == [
        f"There is nothing to rank: no clicks on {quiet} ({log.articles.titles[log.articles.position[quiet]]})."
    ]
    assert len(found.table) == 0
