"""Laws of article tables: told apart by what they hold, and translations that take the log's own categories."""

import shutil

import pytest
from support.logs import write_ebnerd, write_prepared, write_xmind
from support.tiny import SIZES

from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.config.reader import build
from rec_trak.config.reading import Reading
from rec_trak.config.training import TrainingConfig
from rec_trak.data.news_tables import is_translated, read_articles_table, translation_for
from rec_trak.data.sources import read_data
from rec_trak.data.targets import read_log_targets
from rec_trak.data.validation import find_validation, in_its_language
from rec_trak.errors import DataError
from rec_trak.training.job import validation_inputs


def test_a_translated_table(tmp_path):
    """Law: titles and abstracts are the translation's, categories MIND's, rows those of MIND's own log."""
    table = write_xmind(tmp_path)
    tree = tmp_path / "MINDsmall_train"
    articles, rows = read_data(tree, table, "train_clean")
    english, plain = read_data(tree, None, "train_clean")
    assert articles.titles[2] == "votul numarul 2"
    assert articles.bodies[2] == "rezumat 2"
    assert (articles.categories, articles.subcategories) == (english.categories, english.subcategories)
    assert (articles.translated, english.translated) == (True, False)
    assert rows.candidates.values.tolist() == plain.candidates.values.tolist()
    assert is_translated(table)
    assert not is_translated(tree / "news.tsv")


def test_a_translation_in_the_place_of_minds_table(tmp_path):
    """Law: where the translated table stands beside the log itself, nothing is known of categories."""
    table = write_xmind(tmp_path)
    tree = tmp_path / "MINDsmall_train"
    shutil.copy(table, tree / "news.tsv")
    articles, _ = read_data(tree, None, "train_clean")
    assert articles.titles[2] == "votul numarul 2"
    assert set(articles.categories) == {""}


def test_what_the_translation_lacks(tmp_path):
    """Law: an article of the log without a translation is a missing article, never read in the other language."""
    table = write_xmind(tmp_path)
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"1 unknown article id.* Got `n7`"):
        read_data(tmp_path / "MINDsmall_train", table, "train_clean")
    articles, _ = read_data(tmp_path / "MINDsmall_train", table, "train_clean", Reading(missing_articles="blank"))
    assert articles.titles[-1] == ""


def test_validation_and_targets_stay_in_the_language(tmp_path):
    """Law: validation sets and targets of a translated run are read from the same translation of their split; without
    one, articles that the run lacks are missing."""
    table = write_xmind(tmp_path)
    articles, _ = read_data(tmp_path / "MINDsmall_train", table, "train_clean")
    dev = table.parent.with_name("xMINDsmall_dev") / "news.tsv"
    assert translation_for(table, tmp_path / "MINDsmall_dev") == dev
    found, _, _ = find_validation(tmp_path / "MINDsmall_train", table, ("val_clean",), "mind")
    assert set(found.titles) == set(articles.titles)
    dev.write_text(dev.read_text() + "n9\tvotul nou\t\n")
    log = tmp_path / "MINDsmall_dev" / "behaviors.tsv"
    log.write_text("1\tu1\t11/11/2019 2:01:00 AM\tn1\tn9-1 n3-0\n")
    targets = read_log_targets(tmp_path / "MINDsmall_dev", articles)
    assert targets.articles.titles[-1] == "votul nou"
    dev.unlink()
    with pytest.raises(DataError, match="unknown article id.*Got `n9`"):
        read_log_targets(tmp_path / "MINDsmall_dev", articles)


def test_training_validates_in_the_language(tmp_path):
    """Law: `validation_path` of a training on a translation is read in the same translation."""
    table = write_xmind(tmp_path)
    assert in_its_language(table, tmp_path / "MINDsmall_dev") == table.parent.with_name("xMINDsmall_dev") / "news.tsv"
    assert in_its_language(table, tmp_path / "elsewhere") == table
    assert in_its_language(tmp_path / "MINDsmall_train" / "news.tsv", tmp_path / "MINDsmall_dev") is None
    keys = {"architecture": "nrms", "sizes": SIZES["nrms"], "output_dir": str(tmp_path / "o"), "epochs": 1}
    paths = {"data_path": "MINDsmall_train", "validation_path": "MINDsmall_dev"}
    paths = {key: str(tmp_path / name) for key, name in paths.items()} | {"news_items_path": str(table)}
    config = build(TrainingConfig, keys | paths, "x")
    words = tuple(word for i in range(8) for word in ("votul", "numarul", str(i)))
    model = ModelConfig("nrms", sizes=SIZES["nrms"], text=TextConfig(words=tuple(dict.fromkeys(words)), title_length=3))
    views = validation_inputs(config, "train_clean", model).views
    assert (views["title"][:8] > 1).all()  # 0 is padding, 1 an unknown word, as English ones would be


def test_any_table_with_any_log(tmp_path):
    """Law: a news_items.csv, which can say what is fake, goes with the logs of all formats."""
    tree = write_ebnerd(tmp_path / "eb")
    (tmp_path / "items.csv").write_text(
        "item_id,title,text,is_fake\n" + "".join(f"{i},title {i},,{int(i == 4)}\n" for i in range(1, 10))
    )
    articles, rows = read_data(tree, tmp_path / "items.csv", "train_clean")
    assert articles.titles[0] == "title 1"
    assert rows.is_fake.tolist() == [1, 0, 0, 0, 0]


def test_tables_of_newsreclib(tmp_path):
    """Law: four columns are id, category, subcategory and title; a header is passed over; a short line is refused."""
    path = write_prepared(tmp_path / "a") / "train" / "news.tsv"
    path.write_text("nid\tcategory\tsubcategory\ttitle\nN1\tnyheter\tsport\tEn tittel\n")
    articles = read_articles_table(path)
    assert (articles.ids, articles.titles, articles.categories) == (("N1",), ("En tittel",), ("nyheter",))
    path.write_text("N1\tnyheter\tsport\tEn tittel\nN2\tx\n")
    with pytest.raises(DataError, match="line 2: Got 2 columns, expected 4"):
        read_articles_table(path)
    path.write_text("nid\tcategory\tsubcategory\ttitle\n")
    with pytest.raises(DataError, match="holds no article"):
        read_articles_table(path)
