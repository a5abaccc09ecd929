"""Rankings without a model, each against its definition counted by hand or in the slow way."""

from dataclasses import replace

import numpy as np
import pytest

from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged
from rec_trak.detection.baselines import baselines, data_baselines, holds, repeated_histories, title_similarity
from rec_trak.detection.metrics import detect
from rec_trak.errors import DataError

TITLES = ("storm hits the coast", "storm hits the city", "vote on budget", "Market rallies again", "star wins")


def shelf(titles=TITLES, fake=()):
    """Articles with these titles."""
    ids = tuple(f"n{i}" for i in range(len(titles)))
    is_fake = np.array([1 if i in fake else -1 for i in range(len(titles))], dtype=np.int8)
    return Articles(ids, titles, titles, titles, titles, is_fake, "memory")


def impressions(users, histories, clicked, fake=None):
    """Rows with these users, histories and clicks, each against article 0."""
    n = len(users)
    return Impressions(
        user_ids=np.array(list(users), dtype=object),
        history=Ragged.of(histories),
        candidates=Ragged.of([[a, 0] for a in clicked]),
        labels=Ragged.of([[1, 0]] * n),
        is_fake=np.full(n, -1, dtype=np.int8) if fake is None else np.array(fake, dtype=np.int8),
        sources=tuple(map(str, range(n))),
    )


def test_baselines_are_what_their_names_say():
    """The indicator, the number of clicks on the same article, and noise that a seed repeats."""
    clicked = np.array([4, 9, 4, 2, 4, 9])
    found = baselines(clicked, [9, 2], seed=5)
    assert all(values.shape == (6,) and values.dtype == np.float64 for values in found.values())
    assert found["clicks promoted article"].tolist() == [0, 1, 0, 1, 0, 1]
    assert found["popularity of the clicked article"].tolist() == [3, 2, 3, 1, 3, 2]
    assert (found["random"] == baselines(clicked, [9, 2], seed=5)["random"]).all()
    assert (found["random"] != baselines(clicked, [9, 2], seed=6)["random"]).any()
    assert len(set(found["random"])) == 6


def test_the_indicator_cannot_tell_clicks_on_one_article_apart():
    """It has AUROC one half among promoted clicks, and finds all poison against the rest."""
    rng = np.random.default_rng(3)
    clicked = rng.integers(0, 6, 300)
    poisoned = ((clicked < 2) & (rng.random(300) < 0.6)).astype(int)
    indicator = baselines(clicked, [0, 1])["clicks promoted article"]
    assert detect(indicator, poisoned, 50, clicked < 2).auroc == 0.5
    assert detect(indicator, poisoned, 50).auroc > 0.8
    assert detect(indicator, poisoned, 50).average_precision == pytest.approx(poisoned.sum() / (clicked < 2).sum())


def test_baselines_refuse_what_is_no_list_of_clicks():
    """One clicked article a row, or an error."""
    with pytest.raises(DataError, match="not one clicked article a row"):
        baselines(np.zeros((3, 2)), [0])


def test_history_rules():
    """Which histories hold a promoted article, or a fake one: as the articles say, or as a click on it says."""
    rows = impressions("abcd", [[1], [], [2, 1], [3]], [4, 1, 3, 2], fake=[-1, -1, 1, 0])
    found, notes = data_baselines(rows, shelf(fake=[2]), [1])
    assert found["promoted article in history"].tolist() == [1, 0, 1, 0]
    assert found["promoted article clicked or in history"].tolist() == [1, 1, 1, 0]
    assert found["fake article in history"].tolist() == [0, 0, 1, 1]
    assert holds(rows.history, []).tolist() == [False] * 4
    assert notes == []


def test_what_the_model_does_not_read_taught_it_nothing():
    """Law: an article beyond what is read of a history does not count, but for histories that repeat another user's."""
    rows = impressions("ab", [[1, 2, 3], [1, 2, 3]], [4, 0])
    read = Ragged.of([[1], [2, 3]])
    found, _ = data_baselines(rows, shelf(fake=[2]), [1], read=read)
    assert found["promoted article in history"].tolist() == [1, 0]
    assert found["fake article in history"].tolist() == [0, 1]
    assert found["history repeats another user's"].tolist() == [3, 3]


def test_what_cannot_be_given_is_left_out_with_a_note(monkeypatch):
    """Nobody says what is fake; no title holds a word; too many pairs of rows: each ranking is missing, and said so."""
    rows = impressions("ab", [[1, 2, 3], [1, 2, 3]], [4, 1])
    monkeypatch.setattr("rec_trak.detection.baselines.PAIRS", 11)
    found, notes = data_baselines(rows, shelf(("?", "", "!", "a", "b")), [1])
    assert not {"title similarity to a promoted article", "fake article in history"} & found.keys()
    assert "history repeats another user's" not in found
    assert [note.split("`")[1] for note in notes] == [
        "title similarity", "fake article in history", "history repeats another user's"]  # fmt: skip
    monkeypatch.setattr("rec_trak.detection.baselines.PAIRS", 12)
    assert data_baselines(rows, shelf(), [1])[0]["history repeats another user's"].tolist() == [3, 3]


def test_title_similarity_is_the_cosine_with_the_nearest_promoted_title():
    """1 for the promoted article itself, between 0 and 1 for one that shares words, 0 for one that shares none."""
    similar = title_similarity(shelf(), [0, 4])
    assert similar[[0, 4]] == pytest.approx([1, 1])
    assert 0 < similar[1] < 1
    assert similar[[2, 3]].tolist() == [0, 0]
    assert title_similarity(shelf(), [0])[4] == 0


def test_repeated_histories_by_hand():
    """Two users share 3 articles; a user's own rows, repeats within a history and fewer than 3 do not count."""
    histories = [[1, 2, 3], [1, 2, 3, 4], [3, 2, 1, 5, 5], [7, 8], [8, 7, 7], []]
    rows = impressions(["a", "a", "b", "c", "d", "e"], histories, [0] * 6)
    assert repeated_histories(rows).tolist() == [3, 3, 3, 0, 0, 0]
    assert repeated_histories(rows, common=2).tolist() == [3, 3, 3, 2, 2, 0]


def test_repeated_histories_equal_the_slow_way(monkeypatch):
    """Any block of rows gives what comparing all pairs of rows gives."""
    rng = np.random.default_rng(0)
    users = rng.integers(0, 15, 60)
    histories = [rng.integers(0, 12, rng.integers(0, 9)).tolist() for _ in range(60)]
    rows = impressions([f"u{u}" for u in users], histories, [0] * 60)
    slow = [
        max(len(set(histories[i]) & set(histories[j])) for j in range(60) if users[i] != users[j]) for i in range(60)
    ]
    slow = [shared if shared >= 3 else 0 for shared in slow]
    assert repeated_histories(rows).tolist() == slow
    monkeypatch.setattr("rec_trak.detection.baselines.BLOCK", 100)
    assert repeated_histories(rows).tolist() == slow
    assert repeated_histories(replace(rows, user_ids=np.full(60, "u", dtype=object))).tolist() == [0] * 60
