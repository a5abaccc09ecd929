"""Arrays by article id that a YAML names: read by id or in the table's order, or refused in one line."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import tiny

from rec_trak.clicks import flatten_padded
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.articles import read_news_items
from rec_trak.data.batches import grouped_pairs, padded_batch, pair_batch, unique_batch
from rec_trak.data.coverage import coverage
from rec_trak.data.further import Further, read_further
from rec_trak.data.impressions import read_pairwise
from rec_trak.data.inputs import build_inputs
from rec_trak.errors import ConfigError, DataError

IDS = ("n0", "n1", "n2")


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Files of the three kinds with the same numbers, in another order than the table's where they give ids."""
    monkeypatch.chdir(tmp_path)
    things, image = np.arange(3, dtype=np.int32), np.arange(24, dtype=np.float64).reshape(3, 2, 4)
    order = np.array([2, 0, 1])
    np.save("things.npy", things)
    np.save("image.npy", image)
    np.save("ids.npy", np.array(IDS)[order])
    np.save("mixed.npy", things[order])
    np.savez("all.npz", article_id=np.array(IDS)[order], things=things[order], image=image[order])
    fields = np.zeros(3, dtype=[("article_id", "U8"), ("things", "i8"), ("image", "f4", (2, 4))])
    fields["article_id"], fields["things"], fields["image"] = np.array(IDS)[order], things[order], image[order]
    np.save("fields.npy", fields)
    return things, image


@pytest.mark.parametrize(
    "given",
    [
        "all.npz",
        "fields.npy",
        "things.npy",
        {"things": "things.npy", "image": "image.npy"},
        {"article_id": "ids.npy", "things": "mixed.npy"},
    ],
    ids=str,
)
def test_each_kind_of_file_gives_each_article_its_own(saved, given):
    """Entries by id, or in the table's order; whole numbers as int64, fractions as float32."""
    things, image = saved
    found = read_further(given, IDS, "news.csv").of(("n1", "x", "n2"), np.array([0, 2]))
    assert found["things"].dtype == np.int64
    assert found["things"].tolist() == [things[1], 0, things[2]]
    if "image" in found:
        assert found["image"].dtype == np.float32
        np.testing.assert_array_equal(found["image"], [image[1], 0 * image[0], image[2]])


@pytest.mark.parametrize(
    ("made", "given", "message"),
    [
        (None, "gone.npy", r"`article_ids`: gone\.npy: no such file"),
        (np.array([{}, 1, 2], dtype=object), "x.npy", r"x\.npy: cannot be read \(.*Python objects.*ids\.astype\(str\)"),
        (
            np.zeros((2, 5)),
            "x.npy",
            r"`x` has not one entry an article\. Got shape \(2, 5\), expected .* the 3 articles",
        ),
        (np.array(["a", "b", "c"]), "x.npy", r"`x` holds no numbers\. Got <U1"),
        (np.array([0, np.nan, 1]), "x.npy", r"`x` holds NaN or Inf in 1 article\(s\), the first 'n1'"),
        (np.zeros(3), {"title": "x.npy"}, r"no view of a name of its own\. Got 1 taken name\(s\) \(title\)"),
        (np.array(["n0", "n0", "n1"]), {"article_id": "x.npy", "y": "z.npy"}, r"1 id\(s\) stand more than once \(n0\)"),
        (np.zeros(3), {"article_id": "x.npy", "y": "z.npy"}, r"`article_id` holds no ids\. Got float64"),
        (np.array(IDS), {"article_id": "x.npy"}, r"no view of a name of its own\. Got `article_id` alone"),
        (np.zeros(3, dtype=[("a", "i4")]), {"y": "x.npy"}, r"`y` is one view, and x\.npy holds several arrays"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, monkeypatch, made, given, message):
    """Whatever a file holds instead."""
    monkeypatch.chdir(tmp_path)
    np.save("z.npy", np.zeros(3))
    if made is not None:
        np.save("x.npy", made, allow_pickle=True)
    with pytest.raises((ConfigError, DataError), match=message) as error:
        read_further(given, IDS, "news.csv")
    assert "\n" not in str(error.value)


@pytest.fixture
def inputs(tmp_path):
    """Rows of a tiny tree with a title, numbers and images of each article, which tell its place in the table."""
    tiny.write_tree(tmp_path)
    articles = read_news_items(tmp_path / "news_items.csv")
    n = len(articles)
    image = np.arange(n, dtype=np.float32)[:, None, None] * np.ones((1, 3, 2), dtype=np.float32)
    image[:, :, 1] = 0  # trailing zeros are values, not padding
    views = {"things": np.arange(n)[:, None] * np.array([1, 0]), "image": image}
    articles = replace(articles, further=Further(articles.ids, views, "x.npz"))
    rows = read_pairwise(tmp_path / "models" / "train_clean.csv", articles)
    config = ModelConfig("own", ("title",), text=TextConfig(words=("storm", "vote"), title_length=6))
    return rows, articles, config, build_inputs(rows, articles, config)


def test_batches_of_every_form_hold_each_articles_own(inputs):
    """Whole, never cut, zeros at places without an article: in unique, pair, padded and grouped batches."""
    _, _, _, made = inputs
    rows, history = np.arange(5), made.impressions.history
    for batch in (unique_batch(made, rows), pair_batch(made, rows)[0], flatten_padded(padded_batch(made, rows))):
        things, image = batch.articles["things"], batch.articles["image"]
        assert things.dtype == torch.int64
        assert image.dtype == torch.float32
        assert (things.shape[1:], image.shape[1:]) == ((2,), (3, 2))
        for row in rows:
            read = things[batch.history[row][batch.history_mask[row]]][:, 0]
            assert read.tolist() == history[row].tolist()
            assert image[batch.history[row][batch.history_mask[row]]][:, 0, 0].tolist() == history[row].tolist()
    groups = grouped_pairs(made, rows).groups
    assert {tuple(group["image"].shape[1:]) for group in groups} == {(3, 2)}


def test_without_texts_views_of_ones_own_are_enough(inputs):
    """`views` may be empty; the padded form is known by its shape. With neither, there is nothing to read."""
    rows, articles, config, _ = inputs
    made = build_inputs(rows, articles, replace(config, views=()))
    batch = flatten_padded(padded_batch(made, [0, 1, 2]))
    width = batch.history.shape[1] + batch.candidates.shape[1]
    assert batch.articles["image"].shape == (3 * width, 3, 2)
    assert flatten_padded(batch) is batch
    with pytest.raises(ConfigError, match=r"nothing of an article is read\. Got neither `views`"):
        build_inputs(rows, replace(articles, further=None), replace(config, views=()))


def test_an_article_of_the_rows_must_be_there(inputs):
    """What no row shows may be missing; what one shows is named, and coverage counts."""
    rows, articles, config, _ = inputs
    held = articles.further
    kept = [i for i, article in enumerate(held.ids) if article != "n3"]
    fewer = Further(tuple(held.ids[i] for i in kept), {n: v[kept] for n, v in held.views.items()}, "x.npz")
    short = replace(articles, further=fewer)
    with pytest.raises(DataError, match=r"x\.npz: 1 article\(s\) of the rows are not there \(n3\)\. Got 11 articles"):
        build_inputs(rows, short, config)
    assert str(coverage(rows, articles, config)[-1]) == "articles in x.npz 100 % (12 of 12)"
    assert str(coverage(rows, short, config)[-1]) == "articles in x.npz 92 % (11 of 12)"
