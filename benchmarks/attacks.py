"""Nine ways to push articles with injected rows, on a pairwise click log. Not here: models, or what finds them.

A: bots click the articles; the ordinary rows are real news only. B: the same among ordinary rows of all kinds. M: as B,
and the bots' histories resemble those of the articles' genuine readers in length and share of fake. H: nobody clicks
anything else than before: the articles are planted in copied histories. Signals were chosen with these in view, and
without these: N as B, with histories that read most like the article's genuine readers. D as B, spread over 30 days
instead of two. R as B, real articles. S slanders: the article is shown and another clicked. L as B, .5 % of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rec_trak.config.reading import Reading
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions, read_slates
from rec_trak.data.ragged import Ragged
from rec_trak.data.sources import read_data
from rec_trak.detection.baselines import holds

KINDS = ("A", "B", "M", "H")
UNSEEN = ("N", "D", "R", "S", "L")
ORDINARY = 1200  # rows, in B, M and H
BOTS, FEW_BOTS = 0.04, 0.005  # of all rows; in L
COPIED = 0.7  # of a genuine history
POPULAR = 20  # genuine clicks that a promoted article has, at least
TARGETS = 500  # held-out users an article, at most
DONORS = 200  # histories a bot chooses from in M and N
DAYS, RUSH, LIFE = 30, 2, 3.0  # of the log; of bots elsewhere than in D; mean days from an article's first to a click


@dataclass(frozen=True)
class Ground:
    """A click log that an attack is built on; all rows are genuine.

    Attributes:
        articles: the table.
        rows, clean: all training rows, and those without a fake article.
        validation, clean_validation: rows for early stopping of models trained on either.
        held_out, clean_held_out: impressions of users that are not in `rows`, all and without a fake article.
        fake: (A,) bool.
    """

    articles: Articles
    rows: Impressions
    clean: Impressions
    validation: Impressions
    clean_validation: Impressions
    held_out: Impressions
    clean_held_out: Impressions
    fake: np.ndarray


@dataclass(frozen=True)
class Attack:
    """Training rows with an attack among them.

    Attributes:
        kind: one of KINDS or UNSEEN.
        rows: ordinary rows, genuine clicks on the promoted articles, then the bots'.
        poisoned: (N,) int, 1 for the bots'.
        days: (N,) int, the day of each click; the log has none, so the genuine ones, too, are made up.
        promoted: positions of the articles.
        targets: each promoted article shown to held-out users who have not read it.
    """

    kind: str
    rows: Impressions
    poisoned: np.ndarray
    days: np.ndarray
    promoted: list[int]
    targets: Impressions

    @property
    def asked(self) -> np.ndarray:
        """(N,) bool, the rows among which bots and genuine ones are hard to tell apart: those that click a promoted
        article; for H those that read one, for S those that are shown one and click another."""
        clicks = np.isin(self.rows.clicked, self.promoted)
        if self.kind == "H":
            return holds(self.rows.history, self.promoted)
        return holds(self.rows.candidates, self.promoted) & ~clicks if self.kind == "S" else clicks


def read_ground(data: str | Path) -> Ground:
    """The genuine rows of a pairwise tree."""
    data = Path(data)
    logs = {}
    for name in ("train_poisoned", "train_clean", "val_poisoned", "val_clean"):
        articles, read = read_data(str(data), str(data / "news_items.csv"), name, Reading("pairwise"))
        genuine = np.flatnonzero(np.array(read.columns.get("poisoned", ["0"] * len(read))) == "0")
        logs[name] = read.subset(genuine)
    rows = logs["train_poisoned"]
    fake = np.zeros(len(articles), dtype=bool)
    fake[rows.clicked[rows.is_fake == 1]] = True
    held_out = read_slates(data / "benchmarks" / "benchmark_mixed.csv", articles)
    clean = _without_fake(held_out, fake)
    return Ground(articles, rows, logs["train_clean"], logs["val_poisoned"], logs["val_clean"], held_out, clean, fake)


def _without_fake(held: Impressions, fake: np.ndarray) -> Impressions:
    """The impressions of users who have read no fake article, without the fake candidates."""
    real = [[a for a in row.tolist() if not fake[a]] for row in held.candidates]
    kept = [i for i, row in enumerate(real) if len(row) > 1 and not fake[held.history[i]].any()]
    rows = held.subset(np.array(kept))
    shown = [real[i] for i in kept]
    labels = Ragged.of([[0] * len(row) for row in shown])
    return replace(rows, candidates=Ragged.of(shown), labels=labels)


def build_attack(ground: Ground, kind: str, seed: int) -> Attack:
    """The attack of that kind; the same seed promotes the same articles in all kinds."""
    rng = np.random.default_rng(seed)
    clicks = np.bincount(ground.rows.clicked, minlength=len(ground.articles))
    known = np.flatnonzero((ground.fake != (kind == "R")) & (clicks >= POPULAR))
    promoted = rng.choice(known, size=1 + seed % 3, replace=False).tolist()
    genuine = np.flatnonzero(np.isin(ground.rows.clicked, promoted))
    kept, others = _ordinary(ground, kind, promoted, rng)
    ordinary = [ground.rows.subset(genuine), kept]
    share = FEW_BOTS if kind == "L" else BOTS
    count = round(share / (1 - share) * sum(map(len, ordinary)))
    planted = [promoted[i % len(promoted)] for i in range(count)]
    make = _planted if kind == "H" else _clicking
    bots = make(ground, kind, planted, promoted, others, rng)
    rows = joined([ordinary[1], ordinary[0], bots])
    poisoned = np.repeat([0, 1], [len(rows) - count, count])
    targets = _targets(ground.clean_held_out if kind == "A" else ground.held_out, promoted, ground.fake, rng)
    return Attack(kind, rows, poisoned, _days(rows, poisoned, kind, seed), promoted, targets)


def _days(rows: Impressions, poisoned: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """(N,) days: an article is clicked from some day on, less and less; bots click on RUSH of them, or in D on any."""
    rng = np.random.default_rng([seed, DAYS])
    first = rng.integers(0, DAYS, size=1 + int(rows.candidates.values.max()))[rows.clicked]
    days = first + rng.exponential(LIFE, size=len(rows)).astype(int)
    rush = first + rng.integers(0, RUSH, size=len(rows))
    bots = rng.integers(0, DAYS, size=len(rows)) if kind == "D" else rush
    return np.where(poisoned == 1, bots, days) % DAYS


def joined(tables: list[Impressions]) -> Impressions:
    """The rows of all tables, one after another, without further columns."""
    parts = {
        name: Ragged.of([row for t in tables for row in getattr(t, name)])
        for name in ("history", "candidates", "labels")
    }
    return Impressions(
        user_ids=np.concatenate([t.user_ids for t in tables]),
        is_fake=np.concatenate([t.is_fake for t in tables]),
        sources=tuple(source for t in tables for source in t.sources),
        **parts,
    )


def _ordinary(ground: Ground, kind: str, promoted: list[int], rng) -> tuple[Impressions, np.ndarray]:
    """The ordinary rows, and the numbers of the genuine rows that do not click a promoted article.

    In H all genuine rows that have a promoted article in their history are among them: they are what the question of H
    is asked of, as the genuine clicks are in the other kinds.
    """
    others = np.flatnonzero(~np.isin(ground.rows.clicked, promoted))
    if kind == "A":
        return ground.clean, others
    read = others[holds(ground.rows.history.subset(others), promoted)] if kind == "H" else others[:0]
    free = np.setdiff1d(others, read)
    drawn = rng.choice(free, size=min(ORDINARY - len(read), len(free)), replace=False)
    return ground.rows.subset(np.sort(np.concatenate([read, drawn]))), others


def _copied(history: np.ndarray, popularity: np.ndarray, rng) -> np.ndarray:
    """A history of the same length: a share of it, at least one article, is copied, the rest drawn by popularity.

    A shorter one would give bots away by its length alone.
    """
    copy = history.copy()
    replaced = rng.choice(len(history), size=len(history) - max(1, round(COPIED * len(history))), replace=False)
    for place in replaced:
        weights = popularity.copy()
        weights[copy] = 0
        copy[place] = rng.choice(len(weights), p=weights / weights.sum())
    return copy


def _clicking(
    ground: Ground, kind: str, clicked: list[int], promoted: list[int], others: np.ndarray, rng
) -> Impressions:
    """Bots' rows that click promoted articles, or in S that are shown one and click the first of the others."""
    rows = ground.rows
    donors = rows if kind != "A" else ground.clean
    numbers = others if kind != "A" else np.arange(len(donors))
    readers = {a: np.flatnonzero(rows.clicked == a) for a in promoted}
    popularity = np.bincount(donors.clicked, minlength=len(ground.articles)).astype(float)
    unplanted = popularity.copy()
    unplanted[promoted] = 0
    histories, candidates = [], []
    for article in clicked:
        if kind in ("M", "N"):
            like = rows.history[int(rng.choice(readers[article]))]
            read = _reading([rows.history[int(i)] for i in readers[article]], article, len(ground.articles))
            tried = [_copied(donors.history[int(i)], unplanted, rng) for i in rng.choice(numbers, size=DONORS)]
            unlike = {"M": lambda own, like=like: _unlike(own, like, ground.fake),
                      "N": lambda own, read=read: -read[own].sum() / np.sqrt(len(own))}  # fmt: skip
            history = min(tried, key=unlike[kind])
        else:
            history = _copied(donors.history[int(rng.choice(numbers))], unplanted, rng)
        barred = np.zeros(len(ground.articles), dtype=bool)
        barred[[*history.tolist(), *promoted]] = True
        if kind == "A":
            barred |= ground.fake
        histories.append(history)
        shown = [article, *others_of(popularity + 1, barred, 4, rng)]
        candidates.append([shown[1], article, *shown[2:]] if kind == "S" else shown)
    return bot_rows(histories, candidates, ground.fake)


def _reading(histories: list[np.ndarray], article: int, count: int) -> np.ndarray:
    """(A,) how often these histories hold each article, the article itself left out."""
    reading = np.bincount(np.concatenate(histories), minlength=count).astype(float)
    reading[article] = 0
    return reading


def _unlike(history: np.ndarray, other: np.ndarray, fake: np.ndarray) -> float:
    length = abs(len(history) - len(other)) / max(len(other), 1)
    return length + abs(fake[history].mean() - fake[other].mean())


def others_of(popularity: np.ndarray, barred: np.ndarray, count: int, rng) -> list[int]:
    """Candidates beside the clicked one: half drawn by popularity, half uniformly."""
    weights, drawn = np.where(barred, 0, popularity), []
    for i in range(count):
        even = (weights > 0).astype(float)
        chance = weights if i % 2 == 0 else even
        drawn.append(int(rng.choice(len(weights), p=chance / chance.sum())))
        weights[drawn[-1]] = 0
    return drawn


def _planted(
    ground: Ground, kind: str, planted: list[int], promoted: list[int], others: np.ndarray, rng
) -> Impressions:
    """Copies of genuine rows with a promoted article at a random place of their history; click and others unchanged.

    Where a history is the log's longest already, its oldest article goes, so that no length gives a row away.
    """
    rows, longest = ground.rows, int(ground.rows.history.lengths.max())
    shown = np.array([np.isin(rows.candidates[int(i)], promoted).any() for i in others])
    free = others[~shown & ~holds(rows.history.subset(others), promoted)]
    histories, candidates = [], []
    for article in planted:
        donor = int(rng.choice(free))
        history = rows.history[donor][-(longest - 1) :]
        histories.append(np.insert(history, int(rng.integers(len(history) + 1)), article))
        candidates.append(rows.candidates[donor].tolist())
    return bot_rows(histories, candidates, ground.fake)


def bot_rows(histories: list, candidates: list[list[int]], fake: np.ndarray) -> Impressions:
    return Impressions(
        user_ids=np.array([f"bot{i}" for i in range(len(histories))], dtype=object),
        history=Ragged.of(histories),
        candidates=Ragged.of(candidates),
        labels=Ragged.of([[1] + [0] * (len(row) - 1) for row in candidates]),
        is_fake=fake[[row[0] for row in candidates]].astype(np.int8),
        sources=tuple(f"bot {i}" for i in range(len(histories))),
    )


def _targets(held: Impressions, promoted: list[int], fake: np.ndarray, rng) -> Impressions:
    """Each promoted article first in an impression of up to TARGETS held-out users, one each, who have not read it, in
    random order."""
    parts = []
    for article in promoted:
        shown = np.array([article in held.candidates[i] or article in held.history[i] for i in range(len(held))])
        order = rng.permutation(np.flatnonzero(~shown))
        first = np.unique(held.user_ids[order].astype(str), return_index=True)[1]
        rows = held.subset(order[np.sort(first)[:TARGETS]])
        shown = [[article, *(a for a in row.tolist() if a not in promoted)] for row in rows.candidates]
        labels = Ragged.of([[1] + [0] * (len(row) - 1) for row in shown])
        labelled = np.full(len(rows), fake[article], dtype=np.int8)
        parts.append(replace(rows, candidates=Ragged.of(shown), labels=labels, is_fake=labelled))
    return joined(parts)
