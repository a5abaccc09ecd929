"""Co-reading against its definition written out pair by pair, and on readers whose order is known."""

import tracemalloc

import numpy as np
import pytest
from detection.test_baselines import impressions

from rec_trak.detection import reading
from rec_trak.detection.reading import co_reading_of, reading_of


def slow(rows, article, asked, count, clicks=False, left_out=()):
    """The definition, pair by pair."""
    n, vectors = len(rows), np.zeros((len(rows), count))
    for i in range(n):
        vectors[i, [*rows.history[i], *([rows.clicked[i]] if clicks else [])]] = 1
    vectors *= np.log((1 + n) / (1 + vectors.sum(axis=0)))
    vectors[:, [article, *left_out]] = 0
    overlaps = [[vectors[i] @ vectors[k] for k in range(n)] for i in range(n)]

    def alike(i, j):
        length = np.linalg.norm(overlaps[i]) * np.linalg.norm(overlaps[j])
        return np.dot(overlaps[i], overlaps[j]) / length if length else 0.0

    found = []
    for i in asked:
        others = [j for j in asked if rows.user_ids[j] != rows.user_ids[i]]
        anybody = np.mean([alike(i, j) for j in range(n)])
        found.append(anybody - (np.mean([alike(i, j) for j in others]) if others else 0))
    return found


def fast(rows, article, asked, count, clicks=False):
    """`co_reading_of` one article's rows."""
    return co_reading_of(reading_of(rows, count, clicks, [article]), [asked])[asked]


@pytest.mark.parametrize("chunk", [reading.CHUNK, 3])
@pytest.mark.parametrize("clicks", [False, True])
def test_co_reading_equals_its_definition(monkeypatch, clicks, chunk):
    """Repeats in a history, empty histories, users with several rows and the article in histories included; however
    many rows are in memory at once."""
    monkeypatch.setattr(reading, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    histories = [rng.integers(0, 9, rng.integers(0, 7)).tolist() for _ in range(40)]
    rows = impressions([f"u{u}" for u in rng.integers(0, 12, 40)], histories, rng.integers(1, 9, 40).tolist())
    for article in (3, 5):
        asked = np.flatnonzero(rows.clicked == article)
        np.testing.assert_allclose(
            fast(rows, article, asked, 9, clicks), slow(rows, article, asked, 9, clicks), atol=1e-6
        )


def test_how_many_rows_are_in_memory_at_once_changes_no_digit(monkeypatch):
    """Rows of 300 users with some of an article in question, however few at once: the same bits."""
    rng = np.random.default_rng(2)
    histories = [rng.integers(0, 40, rng.integers(0, 9)).tolist() for _ in range(700)]
    rows = impressions([f"u{u}" for u in rng.integers(0, 300, 700)], histories, rng.integers(0, 40, 700).tolist())
    read, asked = reading_of(rows, 40, without=[3]), np.flatnonzero([3 in history for history in histories])
    found = []
    for block in (1, 7, 10_000):
        monkeypatch.setattr(reading, "BLOCK", block)
        found.append(co_reading_of(read, [asked]).tobytes())
    assert len(set(found)) == 1


def test_overlaps_of_a_few_rows_are_held():
    """Not those of all rows that hold an article: of the 2,500 here never as many as of 500."""
    rng, n = np.random.default_rng(4), 2500
    rows = impressions([f"u{i // 2}" for i in range(n)], [rng.integers(0, 60, 3).tolist() for _ in range(n)], [61] * n)
    read = reading_of(rows, 62)
    tracemalloc.start()
    co_reading_of(read, [np.arange(n)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500 * n * 8


def test_a_stranger_among_readers_stands_first():
    """Three users read the same and click article 9; one who reads what anybody reads stands above them."""
    readers = [["a", [1, 2, 3]], ["b", [1, 2, 4]], ["c", [1, 3, 4]], ["bot", [5, 6, 7]]]
    crowd = [[f"u{i}", [5, 6, 7 + i % 2]] for i in range(6)]
    users, histories = zip(*readers, *crowd, strict=True)
    found = fast(impressions(users, histories, [9] * 4 + [8] * 6), 9, np.arange(4), 10)
    assert found.argmax() == 3
    assert (found[:3] < 0).all()


def test_readings_without_a_common_article_are_alike_where_others_read_both():
    """Of three clickers of article 9 with one article each, those whose articles others read together stand lower."""
    crowd = [[1, 2]] * 4 + [[3, 4]] * 4
    rows = impressions([f"u{i}" for i in range(11)], [*crowd, [1], [2], [3]], [8] * 8 + [9] * 3)
    found = fast(rows, 9, np.arange(8, 11), 10)
    assert found[2] > max(found[:2])


def test_a_users_own_rows_are_no_evidence():
    """What one user reads alike in all rows makes none of them familiar: only other users' rows do."""
    rows = impressions(["a", "a", "a", "b"], [[1, 2]] * 3 + [[3, 4]], [9, 9, 9, 8])
    alone = fast(rows, 9, np.arange(3), 10)
    np.testing.assert_allclose(alone, slow(rows, 9, np.arange(3), 10), atol=1e-6)
    assert (alone > 0).all()  # nobody else to be like, and like the log's average


def test_of_several_articles_the_strangest_counts():
    """A row that holds two of the articles has the higher of its values; rows of none have 0."""
    rows = impressions("abcde", [[1, 2], [1, 2, 3], [2, 4], [3, 4], [5]], [6] * 5)
    of = {1: np.array([0, 1]), 3: np.array([1, 3])}
    single = {a: dict(zip(of[a], slow(rows, a, of[a], 7, left_out=of), strict=True)) for a in of}
    found = co_reading_of(reading_of(rows, 7, without=of), of.values())
    assert found[1] == pytest.approx(max(single[1][1], single[3][1]))
    assert found.tolist()[2::2] == [0, 0]


def test_articles_in_question_are_no_reading():
    """Two bots that click the same two articles, one after the other, do not look alike for it."""
    rows = impressions(["bot", "bot2", "a", "b"], [[1, 5, 8], [2, 6, 8], [3, 4], [3, 4]], [9, 9, 9, 9])
    asked = np.arange(4)
    with_both = co_reading_of(reading_of(rows, 10), [asked])
    alone = co_reading_of(reading_of(rows, 10, without=[8, 9]), [asked])
    assert (alone[:2] > with_both[:2]).all()
    taken_out = impressions(rows.user_ids, [[1, 5], [2, 6], [3, 4], [3, 4]], [9, 9, 9, 9])
    np.testing.assert_allclose(alone, co_reading_of(reading_of(taken_out, 10), [asked]), atol=1e-9)


def test_in_a_large_log_readings_are_told_by_drawn_rows(monkeypatch):
    """The same draw by the same seed, and near what all rows say."""
    rng = np.random.default_rng(1)
    rows = impressions([f"u{i}" for i in range(300)], [rng.choice(12, 3).tolist() for _ in range(300)], [13] * 300)
    read, asked = reading_of(rows, 14), np.arange(40)
    exact = co_reading_of(read, [asked])[asked]
    monkeypatch.setattr(reading, "REFERENCE", 150)
    drawn = [co_reading_of(read, [asked], seed)[asked] for seed in (0, 0, 1)]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()
    assert np.abs(drawn[0] - exact).max() < 0.1
