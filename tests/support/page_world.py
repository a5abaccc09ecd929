"""A finished run whose every text is hostile to the page that tells of it. Not here: laws."""

import atexit
import json
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from rec_trak.comparison.run import compare_runs, write_comparison
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged
from rec_trak.results.belongs import RECORD, bytes_sum, claimed, scoring_digest
from rec_trak.results.files import write_results

HOSTILE = (
    "</script><script>document.title='hacked'</script>",
    '"><img src=x onerror="document.title=\'hacked\'">',
    "<style>body{display:none}</style> <b>bold</b> &amp; {{ 7*7 }}",
    "]]><!-- <base href='http://example.invalid/'>",
    "bell \x07 escape \x1b[31m nul \x00 delete \x7f next \x85 line",
    "مرحبا بالعالم خبر عاجل",
    "override \u202egnp.exe left open",
    "😀 emoji 👩‍👩‍👧 headline 🎉",
    "long " * 2000,
    "",
    "plain headline",
    "javascript:document.title='hacked' `ticks` $x$ \u2028 end",
)
N = 40
SETTINGS = {
    "features": {"loss": "softmax", "projector": "count_sketch", "proj_dim": 6},
    "score": {"form": "self_influence", "lambda_rel": 1.0},
    "rows": {"rows": "0123", "negatives": "4567", "row_count": N},
}


def metadata(members: int = 1, **keys) -> dict:
    """What score.py would say of such a run."""
    made = [
        {"checkpoint": f"/runs/<b>member_{i}.pt", "digest": f"digest{i}", "ridge": 0.1, "condition_number": 10.0,
         "effective_dimension": 3.0, "mean_leverage": 0.1, "max_leverage": 0.5}
        for i in range(members)
    ]  # fmt: skip
    return {
        "config": {"seed": 3, "data_path": "</pre><script>document.title='hacked'</script>"},
        "dataset_type": "train_poisoned", "model_type": "poisoned", "proj_dim": 8, "parameters": 1234,
        "command": "python scripts/score.py --config '<i>x</i>.yaml'", "members": made,
        "versions": {"torch": "2.13.0"}, "notes": ["a note with <b>tags</b> and `code`"], **SETTINGS, **keys,
    }  # fmt: skip


def model(most: int, kept: str) -> dict:
    """What score.py would say of a model that reads so many articles of a history."""
    told = {"architecture": "nrms", "views": ["title"], "text": {"tokeniser": "regex"}}
    return told | {"max_history": most, "history_truncation": kept}


def world(fake: np.ndarray | None = None) -> tuple[Impressions, Articles]:
    """N clicks of 8 users on the hostile articles, a third of them fake unless `fake` says another thing."""
    n = len(HOSTILE)
    fake = np.array([1, 0, 0] * (n // 3), np.int8) if fake is None else fake
    ids = tuple(f"n{i}<\"&'>" for i in range(n))
    articles = Articles(ids, HOSTILE, ("",) * n, ("",) * n, ("",) * n, fake, "made up")
    rng = np.random.default_rng(0)
    clicked = [i % n for i in range(N)]
    impressions = Impressions(
        user_ids=np.array([f"<u>{i % 8}</u>" for i in range(N)], dtype=object),
        history=Ragged.of([rng.permutation(n)[: i % 9].tolist() for i in range(N)]),
        candidates=Ragged.of([[c, (c + 1) % n, (c + 2) % n] for c in clicked]),
        labels=Ragged.of([[1, 0, 0]] * N),
        is_fake=fake[clicked],
        sources=tuple(f"{2 * i + 2}-{2 * i + 3}" for i in range(N)),
    )
    return impressions, articles


def write_run(folder: Path, scores: np.ndarray | None = None, seed: int = 1, fake=None, **keys) -> Path:
    """The results of self-influence, without anything else."""
    scores = np.random.default_rng(seed).gamma(1.0, size=N) if scores is None else scores
    write_results(folder, scores, *world(fake), 5, metadata(**keys))
    return folder


def write_everything(folder: Path) -> tuple[Path, Path]:
    """A run with targets, groups and detection, and a comparison with another; the two folders."""
    shutil.copytree(_everything(), folder, dirs_exist_ok=True)
    return folder / "poisoned", folder / "compared"


@lru_cache(maxsize=1)
def _everything() -> Path:
    """The same, written once a process: its figures take seconds."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    run, clean = write_run(folder / "poisoned"), write_run(folder / "clean", seed=2)
    scores = np.random.default_rng(3).normal(size=N)
    about = {"score": {"form": "target_influence", "lambda_rel": 1.0, "target_count": 4}}
    place = run / "targets" / "<s>promoted"
    extra = {"renormalised": 2 * scores, "kernel": scores}
    write_results(place, scores, *world(), 5, metadata(**about, targets_file="<x>.csv", targets_notes=[]), extra)
    for at in (run, place):
        write_groups(at)
    write_single_targets(place, scores)
    (run / "detection.json").write_text(json.dumps(detection()), encoding="utf-8")
    claim(run)
    claim(place)
    write_comparison(compare_runs(clean, run), folder / "compared")
    return folder


def claim(folder: Path) -> None:
    """Say of all files in a folder that they are of its scoring, as the commands that write them do."""
    told = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    sums = {path.name: bytes_sum(path) for path in folder.iterdir() if path.is_file() and path.name != RECORD}
    with claimed(folder, sums, scoring_digest(told)):
        pass


def write_groups(folder: Path) -> None:
    """by_article.csv and by_user.csv as sums over rows.csv."""
    rows = pd.read_csv(folder / "rows.csv", dtype=str, keep_default_na=False)
    rows["score"] = np.load(folder / "trak_scores.npy")
    for file, keys in (("by_article", ["article_id", "title", "label"]), ("by_user", ["user_id"])):
        groups = rows.groupby(keys)["score"].agg(rows="size", sum="sum", mean="mean").reset_index()
        groups.sort_values("sum", ascending=False).to_csv(folder / f"{file}.csv", index=False)


def write_single_targets(place: Path, scores: np.ndarray) -> None:
    """Four targets, the last one influenced most, and one row explained."""
    rows = pd.read_csv(place / "rows.csv", dtype=str, keep_default_na=False)
    targets = rows.head(4).assign(target=range(4), margin=[0.5, -1.0, 0.0, 2.0])
    targets.to_csv(place / "targets.csv", index=False)
    for name, sign in (("proponents", 1), ("opponents", -1)):
        order = np.argsort(-sign * scores)[:7]
        ends = [rows.iloc[order].assign(target=t, rank=range(1, 8), score=scores[order] * (t + 1)) for t in range(4)]
        pd.concat(ends).to_csv(place / f"{name}.csv", index=False)
    parts = pd.DataFrame({"part": ["history 1", "<b>clicked"], "article_id": ["n1", ""], "title": HOSTILE[:2],
                          "kernel": [0.5, 0.25], "influence": [0.1, -0.2]})  # fmt: skip
    parts.to_csv(place / "explain_7_2.csv", index=False)


def detection() -> dict:
    """What detect.py would write."""
    curve = {
        "roc": {"false_positive_rate": [0, 0.2, 1], "true_positive_rate": [0, 0.8, 1]},
        "precision_recall": {"recall": [0, 0.5, 1], "precision": [1, 0.8, 0.3]},
    }
    cut = {"name": "k", "rows": 5, "found": 4.0, "precision": 0.8, "recall": 0.4, "precision_interval": None,
           "recall_interval": None}  # fmt: skip
    lines = [
        {"ranking": "<i>ours</i>", "kind": "attribution", "auroc": 0.9, "auroc_interval": [0.8, 1.0],
         "average_precision": 0.7, "average_precision_interval": None, "cuts": [cut]},
        {"ranking": "random", "kind": "baseline without a model", "auroc": None, "auroc_interval": None,
         "average_precision": None, "average_precision_interval": None, "cuts": [cut]},
    ]  # fmt: skip
    question = {"rows": N, "poisoned": 10, "missing": "", "rankings": lines,
                "curves": {"attribution": {"ranking": "<i>ours</i>", **curve}}}  # fmt: skip
    first = [{"sample_idx": i, "user_id": f"<u>{i % 8}</u>", "places": {"co_reading": 2, "copies": 1, "<b>": 3},
              "poisoned": i % 2} for i in (13, 1)]  # fmt: skip
    articles = [{"id": "n1<\"&'>", "title": HOSTILE[1]}]
    told = {
        "rows": 4,
        "users": 2,
        "through": "clicks",
        "rule": {"co_reading": 1.0, "copies": 0.5},
        "articles": articles,
    }
    return {
        "suspicion": told | {"first_rows": first, "first_users": []},
        "promoted": ["n1<\"&'>"],
        "promoted_by": "given",
        "verdict": ["A baseline wins: `<i>ours</i>` loses.", "Attribution wins elsewhere."],
        "notes": ["labels <b>as given</b>", "/a/folder" * 30],
        "labels": "column `poisoned` of <x>.csv",
        "interval": {"level": 0.95, "draws": 10},
        "questions": {"everything": question, "same_article": question | {"rows": 0, "poisoned": 0}},
    }
