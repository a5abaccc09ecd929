"""A finished run measured against labels: which rankings, which rows, which words, and every refusal."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from support import finished
from support.commands import call, fail
from support.finished import PROMOTED

from rec_trak.detection.baselines import baselines
from rec_trak.detection.metrics import detect
from rec_trak.detection.run import detect_run, write_detection
from rec_trak.detection.text import detection_lines, detection_text, verdict
from rec_trak.errors import ConfigError, DataError, StoreError
from rec_trak.results.files import read_results
from rec_trak.runs.finished import open_run

RANKINGS = {
    "attribution": {
        "influence on the targets, renormalised", "influence on the targets", "self-influence Q h",
        "leverage of the loss gradient", "renormalised influence times root Q",
        "promoted article clicked, then co-reading, copies and influence",
    },
    "model": {"loss", "gradient norm", "loss gradient norm", "gradient cosine with the targets"},
    "no model": {
        "random", "clicks promoted article", "promoted article in history", "promoted article clicked or in history",
        "popularity of the clicked article", "title similarity to a promoted article", "fake article in history",
        "history repeats another user's",
        *(f"promoted article {place}, then {names}" for place in ("clicked", "in history")
          for names in ("co-reading", "copies", "co-reading and copies")),
    },
}  # fmt: skip


def measured(folder, **keys):
    """The content, with few draws."""
    return detect_run(folder, **({"promoted": [PROMOTED], "top_k": 3, "draws": 20} | keys))


def test_every_ranking_is_measured_as_detect_does(folder):
    """All rankings of the three kinds stand in both questions, with the numbers of `detect` on their own arrays."""
    found, results = measured(folder), read_results(folder)
    log = open_run(results.folder).click_log()
    told = read_results(folder / "targets" / "benchmark_mixed")
    poisoned = np.array(log.rows.columns["poisoned"], dtype=int)
    promoted = log.articles.position[PROMOTED]
    among = log.rows.clicked == promoted
    arrays = {
        "influence on the targets, renormalised": told.rows["renormalised"].astype(float).to_numpy(),
        "influence on the targets": told.scores,
        "self-influence Q h": results.scores,
        "random": baselines(log.rows.clicked, [promoted])["random"],
        "clicks promoted article": among.astype(float),
    }
    assert (found["n"], found["n_poisoned"], found["targets"]) == (24, poisoned.sum(), "benchmark_mixed")
    assert set(found["questions"]) == {"everything", "same_article"}
    for question, mask in (("everything", None), ("same_article", among)):
        lines = {line["ranking"]: line for line in found["questions"][question]["rankings"]}
        for kind, names in RANKINGS.items():
            assert {name for name, line in lines.items() if line["kind"] == kind} == names
        for name, scores in arrays.items():
            expected = dataclasses.asdict(detect(scores, poisoned, 3, mask, name, 20, 0))
            assert lines[name] == {"ranking": name, "kind": lines[name]["kind"], **expected}


def test_rankings_stand_by_the_metric_that_decides(folder):
    """Average precision against everything, AUROC among the same articles; curves are the best's of each kind."""
    found = measured(folder)
    for question, metric in (("everything", "average_precision"), ("same_article", "auroc")):
        told = found["questions"][question]
        values = [line[metric] for line in told["rankings"]]
        assert values == sorted(values, reverse=True)
        assert set(told["curves"]) == set(RANKINGS)
        for kind, curve in told["curves"].items():
            best = next(line for line in told["rankings"] if line["kind"] == kind)
            assert curve["ranking"] == best["ranking"]
            area = np.trapezoid(curve["roc"]["true_positive_rate"], curve["roc"]["false_positive_rate"])
            assert area == pytest.approx(best["auroc"])


def test_an_oracle_from_elsewhere_wins(folder):
    """A further ranking takes part as attribution; one that knows the labels wins in every question."""
    poisoned = np.array(open_run(folder).click_log().rows.columns["poisoned"], dtype=float)
    found = measured(folder, further={"oracle": poisoned})
    assert found["kinds"]["oracle"] == "attribution"
    for told in found["questions"].values():
        assert (told["rankings"][0]["average_precision"], told["rankings"][0]["auroc"]) == (1, 1)
    assert found["verdict"][-1].startswith("Attribution") or "does as well" in found["verdict"][0]


def line(name, kind, value, interval=None):
    """A ranking with one number for every metric."""
    metrics = dict.fromkeys(("average_precision", "auroc"), value)
    return {"ranking": name, "kind": kind, **metrics, **{f"{m}_interval": interval for m in metrics}}


def test_the_first_sentence_says_who_lost():
    """A baseline that wins, or does as well, stands first whatever question it is; then come attribution's wins."""
    ours, rule = line("k", "attribution", 0.7, (0.6, 0.8)), line("rule", "no model", 0.5, (0.4, 0.55))
    won = verdict({"everything": {"rankings": [ours, rule]}, "same_article": {"rankings": [ours, rule]}})
    assert won[0] == (
        "Attribution wins against everything: average precision 0.700 (0.60-0.80) of `k`; the best baseline, `rule`, "
        "has 0.500 (0.40-0.55)."
    )
    better = line("loss", "model", 0.75, (0.65, 0.9))
    mixed = verdict({"everything": {"rankings": [ours, rule]}, "same_article": {"rankings": [better, ours]}})
    assert mixed[0] == (
        "A baseline is ahead, if not clearly, against genuine clicks on the same articles: AUROC 0.750 (0.65-0.90) of "
        "`loss`; the best attribution ranking, `k`, has 0.700 (0.60-0.80), and the intervals overlap. Rank by `loss` "
        "for this."
    )
    assert mixed[1].startswith("Attribution wins against everything")
    even = verdict({"everything": {"rankings": [ours, line("rule", "no model", 0.7)]}})
    assert even[0].startswith("A baseline does as well against everything: average precision 0.700 of `rule`; ")
    nothing = {"everything": {"rankings": [line("k", "attribution", None), line("rule", "no model", None)]}}
    assert verdict(nothing) == ["Nobody wins: no question has both poisoned and genuine rows."]


def test_an_attack_through_histories_gets_a_question_of_its_own(tmp_path, folder):
    """Poisoned rows that click no promoted article but have one in their history stand against rows like them."""
    assert "same_history" not in measured(folder)["questions"]
    log = open_run(folder).click_log()
    promoted = log.articles.position[PROMOTED]
    read = np.array([promoted in log.rows.history[i] for i in range(24)])
    quiet = np.flatnonzero(read & (log.rows.clicked != promoted))
    path = tmp_path / "labels.csv"
    pd.DataFrame({"sample_idx": quiet[:1]}).to_csv(path)
    found = measured(folder, labels=path)
    told = found["questions"]["same_history"]
    assert (told["rows"], told["poisoned"]) == (read.sum(), 1)
    assert found["questions"]["same_article"]["poisoned"] == 0
    assert found["questions"]["same_article"]["rankings"][0]["auroc"] is None
    assert "none of the" in found["questions"]["same_article"]["missing"]
    assert all("same articles" not in sentence for sentence in found["verdict"])


def test_one_class_only_says_what_cannot_be_given(tmp_path, folder):
    """No poisoned row: precision stands, the metrics do not, and nobody wins."""
    path = tmp_path / "labels.csv"
    pd.DataFrame({"sample_idx": range(24), "poisoned": 0}).to_csv(path)
    found = measured(folder, labels=path)
    first = found["questions"]["everything"]["rankings"][0]
    assert (first["auroc"], first["average_precision"], first["cuts"][0]["precision"]) == (None, None, 0)
    assert "none of the 24 rows is poisoned" in found["questions"]["everything"]["missing"]
    assert found["verdict"] == ["Nobody wins: no question has both poisoned and genuine rows."]
    assert found["questions"]["everything"]["curves"] == {}
    text = detection_text(found)
    assert "AUROC and average precision cannot be given: none of the 24 rows is poisoned." in text
    assert set(detection_lines(found)["question"]) == {"everything", "same_article"}


def test_files_hold_what_was_found(tmp_path, folder):
    """detection.json is the content; detection.csv has a line a question and ranking, an interval in two columns."""
    found = measured(folder)
    paths = write_detection(tmp_path, found)
    assert [path.name for path in paths] == ["detection.csv", "detection.json"]  # the table was not given
    assert json.loads(paths[1].read_text()) == json.loads(json.dumps(found))
    table = pd.read_csv(paths[0])
    assert len(table) == 2 * sum(map(len, RANKINGS.values()))
    first, told = table.iloc[0], found["questions"]["everything"]["rankings"][0]
    assert (first["question"], first["ranking"], first["kind"]) == ("everything", told["ranking"], told["kind"])
    assert (first["auroc_low"], first["auroc_high"]) == pytest.approx(told["auroc_interval"])
    assert first["precision_at_10%"] == pytest.approx(told["cuts"][3]["precision"])
    assert first["rows_at_10%"] == 2


def test_clicks_on_fake_articles_are_another_question(folder):
    """The column may be any of the log's, and the file's own `candidate_is_fake`."""
    found = measured(folder, poison_column="candidate_is_fake")
    assert found["n_poisoned"] == (read_results(folder).labels == 1).sum()
    assert "`candidate_is_fake` of" in found["labels"]


def test_the_promoted_article_may_be_the_targets_own(tmp_path, own):
    """Where the exposure of an article is explained, that article is meant; other targets need it named."""
    with pytest.raises(ConfigError, match=r"which articles are promoted.*\(--promoted\)"):
        measured(own, promoted=None)
    finished.score(tmp_path, "seen", targets={"seen": {"article": PROMOTED, "users": "train", "count": 9}})
    assert measured(own, promoted=None, targets="seen")["promoted"] == [PROMOTED]


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"promoted": ["n99", "n1"]}, ConfigError, r"--promoted: 1 unknown article\(s\) \(n99\)"),
        ({"targets": "other"}, ConfigError, "targets not scored. Got 'other', expected one of benchmark_mixed"),
        ({"poison_column": "bot"}, DataError, "Got `poisoned`, `candidate_is_fake`, expected `bot`"),
        ({"top_k": 99}, ConfigError, r"`top_k` \(--top_k\) is out of range. Got 99, expected 1 to 24"),
        ({"labels": "none.csv"}, DataError, "none.csv: no such file"),
        ({"further": {"mine": np.zeros(3)}}, DataError, r"mine: not one score and one label a row. Got .*\(3,\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder, keys, error, words):
    """Each in one line that names it."""
    with pytest.raises(error, match=words):
        measured(folder, **keys)


def test_a_run_without_what_is_needed_is_refused(tmp_path, own):
    """No targets, two and none named, targets of an older form, a store that is gone."""
    targets = own / "targets"
    (targets / "benchmark_mixed").rename(targets / "a")
    with pytest.raises(StoreError, match="no target set 'a' was scored here. Run scripts.score.py with --targets a"):
        measured(own)
    (targets / "b").mkdir()
    shutil.copy(targets / "a" / "metadata.json", targets / "b")
    with pytest.raises(ConfigError, match="which targets. Got none named, expected one of a, b"):
        measured(own)
    with pytest.raises(DataError, match="b: not a finished run"):
        measured(own, targets="b")
    shutil.rmtree(targets / "b")
    rows = pd.read_csv(targets / "a" / "rows.csv", dtype=str, keep_default_na=False)
    rows.drop(columns="renormalised").to_csv(targets / "a" / "rows.csv", index=False)
    (targets / "a" / "belongs.json").unlink()  # of the older form, which had neither
    with pytest.raises(DataError, match="no column `renormalised`"):
        measured(own)
    targets.rename(own / "gone")
    with pytest.raises(ConfigError, match="no target set is scored.*Run scripts/score.py with --targets"):
        measured(own)
    (own / "store").rename(tmp_path / "away")
    (own / "gone").rename(targets)
    rows.to_csv(targets / "a" / "rows.csv", index=False)
    with pytest.raises(StoreError, match="no gradients there"):
        measured(own)


def test_the_command(folder):
    """The answer is the first paragraph, the verdict the next; tables, notes and paths follow; an error is one line."""
    result = call("detect", "--results_dir", folder, "--promoted", PROMOTED, "--top_k", 3)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Asked about: ")
    assert lines[lines.index("") + 1].split(":")[0].split(" against")[0] in (
        "A baseline wins",
        "A baseline does as well",
        "Attribution wins",
        "A baseline is ahead, if not clearly,",
        "Attribution is ahead, if not clearly,",
    )
    assert "Poison against everything: " in result.stdout
    assert "Poison against genuine clicks on the same articles: " in result.stdout
    assert lines[-1].endswith("suspicion.csv")
    assert max(map(len, (line for line in lines if line.startswith(("ranking", "loss", "random"))))) <= 120
    assert "unknown article" in fail("detect", "--results_dir", folder, "--promoted", "n99")
