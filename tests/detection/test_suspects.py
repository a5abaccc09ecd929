"""Promoted articles found from the log alone, against slow definitions and planted bots; a clean log is no alarm."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from detection.test_baselines import impressions, shelf
from scipy.stats import binom, hypergeom, norm
from support import finished
from support.commands import call, fail

from rec_trak.config.reading import Reading
from rec_trak.data.ragged import Ragged
from rec_trak.data.sources import read_data
from rec_trak.data.synthetic import write_demo_world
from rec_trak.detection import readers
from rec_trak.detection.rarity import against_others, deviates_of, groups_by_size, rarity
from rec_trak.detection.readers import readers_table, unlike
from rec_trak.detection.reading import reading_of
from rec_trak.detection.suspects import SIGNALS, read_suspects, suspects_of
from rec_trak.errors import ConfigError


def slow_unlike(rows, article, count):
    """The definition, user by user: Welch's t of the alikeness to the article's readers."""
    n, vectors = len(rows), np.zeros((len(rows), count))
    for i in range(n):
        vectors[i, rows.history[i]] = 1
    vectors *= np.log((1 + n) / (1 + vectors.sum(axis=0)))
    vectors[:, article] = 0
    sides = {"click": {}, "read": {}}
    for i, user in enumerate(rows.user_ids):
        if not vectors[i].any():
            continue
        unit = vectors[i] / np.linalg.norm(vectors[i])
        if rows.clicked[i] == article:
            sides["click"].setdefault(user, []).append(unit)
        if article in rows.history[i]:
            sides["read"].setdefault(user, []).append(unit)
    means = {side: {user: np.mean(own, axis=0) for user, own in users.items()} for side, users in sides.items()}

    def alike(user, mean):
        return np.mean([mean @ other for who, other in means["read"].items() if who != user])

    a, b = ([alike(*one) for one in means[side].items()] for side in ("click", "read"))
    return (np.mean(b) - np.mean(a)) / np.sqrt(np.var(a, ddof=1) / len(a) + np.var(b, ddof=1) / len(b))


def some_log(seed=0, n=300, users=60, articles=8):
    """Random rows."""
    rng = np.random.default_rng(seed)
    histories = [rng.integers(0, articles, rng.integers(0, 6)).tolist() for _ in range(n)]
    log = impressions([f"u{u}" for u in rng.integers(0, users, n)], histories, rng.integers(0, articles, n).tolist())
    shown = [[clicked, *rng.integers(0, articles, 2).tolist()] for clicked in log.clicked.tolist()]
    return replace(log, candidates=Ragged.of(shown), labels=Ragged.of([[1, 0, 0]] * n))


def joined(log, more):
    """The rows of one, then of the other."""
    parts = {
        name: Ragged.of([row.tolist() for part in (log, more) for row in getattr(part, name)])
        for name in ("history", "candidates", "labels")
    }
    users = np.concatenate([log.user_ids, more.user_ids])
    fake = np.concatenate([log.is_fake, more.is_fake])
    return replace(log, user_ids=users, is_fake=fake, sources=tuple(map(str, range(len(users)))), columns={}, **parts)


def test_unlike_is_the_t_of_its_definition():
    """Users that click and read, rows with empty histories and repeats included."""
    rows = some_log()
    read = reading_of(rows, 8)
    for article in (2, 5):
        clicks = np.flatnonzero(rows.clicked == article)
        holders = np.array([i for i in range(len(rows)) if article in rows.history[i]])
        assert unlike(read, article, clicks, holders) == pytest.approx(slow_unlike(rows, article, 8), rel=1e-5)


def deviate(flags, asked, groups=None):
    """The normal deviate as rare as so many flags among the asked ones are in logs shuffled in groups, drawn."""
    rng, counts = np.random.default_rng(0), np.zeros(30000)
    groups = np.zeros(len(flags), dtype=int) if groups is None else groups
    for group in np.unique(groups).tolist():
        own = groups == group
        counts += rng.hypergeometric(flags[own].sum(), (~flags[own]).sum(), asked[own].sum(), len(counts))
    return norm.isf(np.mean(counts > flags[asked].sum()) + np.mean(counts == flags[asked].sum()) / 2)


def with_lone_users(log):
    """Two thirds of the users as they are; rows of the others each by a user of its own."""
    users = np.unique(log.user_ids.astype(str), return_inverse=True)[1]
    return replace(
        log, user_ids=np.array([f"u{u}" if u < 40 else f"one{i}" for i, u in enumerate(users)], dtype=object)
    )


def test_counts_are_as_rare_as_shuffled_logs_have_them():
    """Counts of clicks are deviates of logs in which marks are shuffled over the rows, of `alone` over rows of about as
    many articles; `passing` of logs in which they are shuffled over the pairs of a user and what it is shown."""
    log = with_lone_users(some_log())
    asked, found = log.clicked == 3, readers_table(log, 8).set_index("article").loc[3]
    alone = np.array([np.sum(log.user_ids == user) == 1 for user in log.user_ids])
    held = [set(log.history.values[np.repeat(log.user_ids == u, log.history.lengths)]) for u in log.user_ids]
    gone = np.array([click not in own for click, own in zip(log.clicked, held, strict=True)])
    lengths = groups_by_size(np.array([len(set(own.tolist())) for own in log.history]))
    assert found["alone"] == pytest.approx(deviate(alone, asked, lengths), abs=0.1)
    assert found["gone"] == pytest.approx(deviate(gone, asked), abs=0.1)
    assert (found["clicks"], found["users"]) == (asked.sum(), len(set(log.user_ids[asked])))
    shown = sorted({(u, a) for u, own in zip(log.user_ids, log.candidates, strict=True) for a in own[1:].tolist()})
    passed = np.array([article == 3 for _, article in shown])
    lone = np.array([np.sum(log.user_ids == u) == 1 for u, _ in shown])
    assert found["passing"] == pytest.approx(deviate(lone, passed), abs=0.1)


def test_histories_that_the_log_does_not_back_are_as_rare_as_in_shuffled_logs():
    """Users with more articles that they never click than half of those with about as many, among an article's
    clickers, readers, and those who are shown it, against logs that shuffle the marks over pairs of such users."""
    log = with_lone_users(some_log(n=900, users=300))
    users = np.unique(log.user_ids.astype(str))
    own = {u: np.flatnonzero(log.user_ids == u) for u in users}
    held = {u: {a for i in own[u] for a in log.history[int(i)].tolist()} for u in users}
    clicks = {u: set(log.clicked[own[u]].tolist()) for u in users}
    unclicked = np.array([len(held[u] - clicks[u]) for u in users])
    groups = groups_by_size(np.array([len(held[u]) for u in users]), len(users) // 3)
    assert len(set(groups.tolist())) > 1
    odd = np.array([k > np.median(unclicked[groups == g]) for k, g in zip(unclicked, groups, strict=True)])
    shown = {u: {a for i in own[u] for a in log.candidates[int(i)][1:].tolist()} for u in users}
    found = readers_table(log, 8).set_index("article").loc[3]
    for name, has in (("unbacked", clicks), ("unbacked_held", held), ("unbacked_shown", shown)):
        pairs = [(i, a) for i, u in enumerate(users) for a in sorted(has[u])]
        user, asked = np.array([i for i, _ in pairs]), np.array([a == 3 for _, a in pairs])
        assert found[name] == pytest.approx(deviate(odd[user], asked, groups[user]), abs=0.1)


def test_a_few_of_a_rare_kind_are_not_taken_for_much():
    """One marked thing among twenty where one in a thousand is: the deviate of the mid-p value, not one over the
    standard deviation (7). All marked is nearly the likelihood; where all or none are there is nothing to say."""
    items = np.repeat([0, 1], [20, 1980])
    one = np.isin(np.arange(2000), [0, 1000])
    law = hypergeom(2000, 2, 20)
    assert rarity(items, one, 2)[0] == pytest.approx(norm.isf(law.sf(1) + law.pmf(1) / 2), abs=0.05)
    assert rarity(items, items == 0, 2)[0] == pytest.approx(norm.isf(0.01**20 / 2), rel=0.02)
    assert rarity(items, np.full(2000, True), 2).tolist() == [0, 0]
    assert rarity(items[:0], one[:0], 2).tolist() == [0, 0]


def test_deviates_are_those_of_exact_mid_p_values():
    """One binomial, every count from none to all, small chances and large."""
    counts = np.arange(31)
    for chance in (0.02, 0.3, 0.9):
        law = binom(30, chance)
        exact = norm.isf(law.sf(counts) + law.pmf(counts) / 2)
        near = np.abs(exact) < 6  # beyond, 1 less a tail has lost it
        found = deviates_of(counts.astype(float), np.full((31, 1), 30.0), np.array([chance]))
        np.testing.assert_allclose(found[near], exact[near], atol=0.06)
        assert (np.diff(found) > 0).all()


def test_where_all_rows_are_alike_there_is_nothing_to_say(monkeypatch):
    """No user with a second row, no article in any history: every signal is 0, and nothing is suspicious; so it is with
    no article that enough users click."""
    rows = impressions([f"u{i}" for i in range(40)], [[]] * 40, [1 + i % 2 for i in range(40)])
    table = readers_table(rows, 4)
    assert (table[[*SIGNALS]] == 0).all(axis=None)
    articles = shelf(tuple(f"title {i}" for i in range(4)))
    assert suspects_of(rows, articles).answer[0].startswith("Nothing suspicious: 2 article(s) with clicks of at least")
    monkeypatch.setattr(readers, "LEAST_USERS", 99)
    found = suspects_of(rows, articles)
    assert len(found.table) == 0
    assert found.answer[0].startswith("Nothing suspicious: 0 article(s)")
    assert "Only 0 article(s) could be judged" in found.notes[-1]


def test_against_others():
    """Median and spread are those of the others; a log without spread is not blown up."""
    assert against_others(np.array([0.0, 0, 0, 5])).tolist() == [0, 0, 0, 5]
    spread = np.array([-20.0, -10, 0, 10, 20])
    np.testing.assert_allclose(against_others(spread), spread / 14.826)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The demo world."""
    return write_demo_world(tmp_path_factory.mktemp("world"), 0)


def test_planted_articles_come_first_and_a_clean_log_is_no_alarm(world):
    """The demo world's three promoted articles lead the list; in its clean log nothing is suspicious."""
    articles, rows = read_data(world.folder, None, "train_poisoned", Reading("pairwise"))
    found = suspects_of(rows, articles)
    assert set(found.table["article_id"][:3]) == set(world.promoted)
    assert found.table["suspicious"][:3].all()
    assert all(name in "\n".join(found.answer) for name in world.promoted)
    _, clean = read_data(world.folder, None, "train_clean", Reading("pairwise"))
    assert not suspects_of(clean, articles).table["suspicious"].any()


def test_an_article_planted_in_histories_is_found(world):
    """Nobody clicks anything else than before: copies of rows with an article put into the history lead to it."""
    articles, clean = read_data(world.folder, None, "train_clean", Reading("pairwise"))
    planted = suspects_of(clean, articles).table["article_id"].iloc[-1]
    copies = clean.subset(np.random.default_rng(0).choice(len(clean), 80, replace=False))
    history = Ragged.of([[*row.tolist(), articles.position[planted]] for row in copies.history])
    bots = np.array([f"bot{i}" for i in range(80)], dtype=object)
    rows = joined(clean, replace(copies, history=history, user_ids=bots))
    found = suspects_of(rows, articles)
    assert found.table["article_id"][0] == planted
    assert f"{planted} (" in found.answer[1]
    assert "in their history" in found.answer[1]


def test_a_slandered_article_is_found(world):
    """Nobody clicks it, users of a single row with a history of many articles are shown it and click another."""
    articles, clean = read_data(world.folder, None, "train_clean", Reading("pairwise"))
    slandered = suspects_of(clean, articles).table["article_id"].iloc[-1]
    copies = clean.subset(np.random.default_rng(0).choice(np.flatnonzero(clean.history.lengths > 4), 60, replace=False))
    shown = [[row[0], articles.position[slandered], *row[2:]] for row in (own.tolist() for own in copies.candidates)]
    bots = np.array([f"bot{i}" for i in range(60)], dtype=object)
    found = suspects_of(joined(clean, replace(copies, candidates=Ragged.of(shown), user_ids=bots)), articles)
    assert found.table["article_id"][0] == slandered
    assert "many who are shown it and click another" in found.answer[1]


def test_growth_is_told_where_the_log_has_days(world):
    """An article whose clicks fall on one day stands out; it is no part of the score."""
    articles, rows = read_data(world.folder, None, "train_poisoned", Reading("pairwise"))
    rushed = suspects_of(rows, articles).table["article_id"][5]
    rng = np.random.default_rng(0)
    days = [
        "2020-01-01" if articles.ids[a] == rushed else f"2020-01-{d:02d}"
        for a, d in zip(rows.clicked, rng.integers(1, 29, len(rows)), strict=True)
    ]
    found = suspects_of(replace(rows, columns=rows.columns | {"day": tuple(days)}), articles).table
    assert found.loc[found["growth"].idxmax(), "article_id"] == rushed
    assert found["score"].tolist() == suspects_of(rows, articles).table["score"].tolist()


def test_the_command(tmp_path, world):
    """From a click log alone: the answer first, files where they are asked for; nothing to read is told."""
    result = call("suspects", "--data_path", world.folder, "--output_dir", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert " suspicious article(s); " in result.stdout.splitlines()[0]
    told = json.loads((tmp_path / "out" / "suspects.json").read_text())
    assert {one["article_id"] for one in told["suspicious"]} >= set(world.promoted)
    table = pd.read_csv(tmp_path / "out" / "suspects.csv")
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert call("suspects", "--data_path", world.folder, "--level", 99).stdout.startswith("Nothing suspicious: ")
    assert "suspects: which click log? Got none, expected --data_path or --results_dir" in fail("suspects")


def test_a_finished_run_adds_its_influence(tmp_path, monkeypatch):
    """Its click log is read again, and the mean influence of an article's clicks stands beside the score."""
    monkeypatch.setattr(readers, "LEAST_USERS", 2)
    folder = finished.finished_run(tmp_path)
    assert call("suspects", "--results_dir", folder, "--targets", "benchmark_mixed").returncode == 0
    table = pd.read_csv(folder / "suspects.csv").set_index("article_id")
    rows = pd.read_csv(folder / "targets" / "benchmark_mixed" / "rows.csv")
    means = rows.groupby("article_id")["renormalised"].mean()[table.index]
    np.testing.assert_allclose(table["influence"], against_others(means.to_numpy()), rtol=1e-6)
    assert json.loads((folder / "belongs.json").read_text())["suspects.csv"]
    with pytest.raises(ConfigError, match="targets not scored. Got 'none'"):
        read_suspects(results_dir=folder, targets="none")
