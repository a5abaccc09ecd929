"""Laws of preprocessed folders: rows exactly as upstream trains them, texts exactly as it split them."""

import json

import numpy as np
import pytest

from rec_trak.config.model import TextConfig
from rec_trak.config.reading import Reading
from rec_trak.data.articles import encode_articles
from rec_trak.data.numbered import read_numbers
from rec_trak.data.parsed import read_parsed
from rec_trak.data.sources import read_data
from rec_trak.errors import ConfigError, DataError

NEWS = [
    ("N1", "news", "vote", "Storm, ahead", "A storm", "", "[]", "[]"),
    ("N2", "sport", "", "Goal", "", "", "[]", "[]"),
    ("N3", "news", "court", "Court (rules)", "Storm in court", "", "[]", "[]"),
]
FILES = {
    "news.tsv": "\n".join("\t".join(fields) for fields in NEWS) + "\n",
    "word2int.tsv": 'word\tint\nstorm\t1\n,\t2\nahead\t3\n""""\t4\ngoal\t5\n',
    "category2int.tsv": "category\tint\nnews\t1\nvote\t2\nsport\t3\n \t4\n",
    "user2int.tsv": "user\tint\nU9\t1\nU7\t2\n",
    "news_parsed.tsv": (
        "id\tcategory\tsubcategory\ttitle\tabstract\ttitle_entities\n"
        "N2\t3\t4\t[5, 0, 0]\t[0, 0]\t[]\n"
        "N1\t1\t2\t[1, 2, 3]\t[0, 1]\t[]\n"
        "N3\t1\t0\t[0, 4, 0]\t[1, 0]\t[]\n"
    ),
    "behaviors_parsed.tsv": (
        "user\tclicked_news\tcandidate_news\tclicked\n"
        "2\tN1 N2\tN3 N1 N2\t1 0 0\n1\t \tN1 N1 N3\t1 0 0\n2\tN3\tN2 N3\t1 0\n"
    ),
}


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def ids(articles, table):
    return [[articles.ids[a] for a in row] for row in table]


def test_rows_are_the_lines_as_they_stand(folder):
    """Law: one row a line, in their order: the click first, negatives as drawn, users by name, histories whole."""
    articles, rows = read_parsed(folder)
    assert ids(articles, rows.candidates) == [["N3", "N1", "N2"], ["N1", "N1", "N3"], ["N2", "N3"]]
    assert ids(articles, rows.history) == [["N1", "N2"], [], ["N3"]]
    assert [list(labels) for labels in rows.labels] == [[1, 0, 0], [1, 0, 0], [1, 0]]
    assert list(rows.user_ids) == ["U7", "U9", "U7"]
    assert rows.sources == ("2", "3", "4")


def test_words_are_as_they_were_split(folder):
    """Law: titles stay readable; behind them stand the numbers' words, '' for 0; topics by their names."""
    articles, _ = read_parsed(folder)
    assert articles.titles == ("Storm, ahead", "Goal", "Court (rules)")
    assert articles.tokens["title"] == (("storm", ",", "ahead"), ("goal", "", ""), ("", '"', ""))
    assert articles.tokens["body"] == (("", "storm"), ("", ""), ("storm", ""))
    assert articles.categories == ("news", "sport", "news")
    assert articles.subcategories == ("vote", " ", "")


def test_ids_survive_another_vocabulary(folder):
    """Law: a model of other preprocessing gets its own ids of the same words; those it does not know are padding."""
    articles, _ = read_parsed(folder)
    text = TextConfig("parsed", title_length=2, unknown="padding", words=("ahead", ",", "storm"), categories=("sport",))
    encoded = encode_articles(articles, text, ("title", "category"))
    assert encoded["title"].tolist() == [[4, 3], [0, 0], [0, 0]]
    assert encoded["category"].tolist() == [0, 1, 0]


def test_real_folder_gives_upstreams_ids(shared):
    """Law: with the folder's own vocabulary, every id of news_parsed.tsv comes back, words one higher."""
    folder = shared / "fixtures" / "yusanshi" / "data" / "train"
    articles, rows = read_parsed(folder)
    names = {key: tuple(read_numbers(folder / f"{key}2int.tsv", key, "int")) for key in ("word", "category")}
    text = TextConfig("parsed", title_length=12, body_length=16, unknown="padding", words=names["word"])
    text = TextConfig(**(vars(text) | {"categories": names["category"], "subcategories": names["category"]}))
    encoded = encode_articles(articles, text, ("title", "body", "category", "subcategory"))
    lines = (folder / "news_parsed.tsv").read_text(encoding="utf-8").splitlines()[1:]
    theirs = {fields[0]: [json.loads(cell) for cell in fields[1:5]] for fields in (line.split("\t") for line in lines)}
    for i, article_id in enumerate(articles.ids):
        category, subcategory, title, abstract = theirs[article_id]
        assert (encoded["category"][i], encoded["subcategory"][i]) == (category, subcategory)
        for view, expected in (("title", title), ("body", abstract)):
            assert np.array_equal(encoded[view][i], np.where(np.array(expected) > 0, np.array(expected) + 1, 0))
    assert len(rows) == 187


def test_a_table_of_articles_says_what_is_fake(shared):
    """Law: with a news_items.csv for the articles, a row knows whether its click is on a fake one."""
    folder = shared / "fixtures"
    _, rows = read_parsed(folder / "yusanshi" / "data" / "train", folder / "data" / "news_items.csv")
    assert (rows.is_fake == 1).sum() == 60
    _, silent = read_parsed(folder / "yusanshi" / "data" / "train")
    assert set(silent.is_fake) == {-1}


@pytest.mark.parametrize("name", ["train_poisoned", "train", "."])
def test_the_folder_is_found(folder, tmp_path_factory, name):
    """Law: the data set's own folder, one of the first part of its name, or the path itself."""
    root = tmp_path_factory.mktemp("tree")
    (root / name).mkdir(exist_ok=True)
    for path in folder.iterdir():
        (root / name / path.name).write_bytes(path.read_bytes())
    assert len(read_data(root, None, "train_poisoned", Reading("parsed"))[1]) == 3


def test_a_tree_without_rows_is_refused(tmp_path):
    """Law: where no place holds behaviors_parsed.tsv, the places are named."""
    with pytest.raises(DataError, match="Got neither val_clean/behaviors_parsed.tsv or val/behaviors_parsed.tsv"):
        read_data(tmp_path, None, "val_clean", Reading("parsed"))


@pytest.mark.parametrize(
    ("name", "old", "new", "match"),
    [
        (
            "behaviors_parsed.tsv",
            "\t1 0 0\n1",
            "\t0 1 0\n1",
            r"line 2: not one click before its negatives. Got '0 1",
        ),
        (
            "behaviors_parsed.tsv",
            "N2 N3\t1 0\n",
            "N2\t1\n",
            r"line 4: not one click before its negatives. Got '1' for",
        ),
        ("behaviors_parsed.tsv", "\tN3\t", "\tN8 N9\t", r"2 article\(s\) \(N8, N9\) that .*news.tsv lacks"),
        ("user2int.tsv", "U7\t2\n", "", r"1 user number\(s\) \(2\) that user2int.tsv does not name"),
        ("user2int.tsv", "U7\t2", "U7\ttwo", "line 3: `int` is no number. Got 'two'"),
        ("word2int.tsv", "goal\t5\n", "", r"line 2: `title` does not hold numbers of known names. Got '\[5, 0, 0\]'"),
        ("word2int.tsv", "goal\t5", "goal\t7", "word2int.tsv: the numbers are not 1 to 5"),
        ("word2int.tsv", "goal\t5", "storm\t5", "word2int.tsv: a name in `word` stands twice"),
        ("news_parsed.tsv", "N2\t3\t4\t", "N2\t3\t[4]\t", r"line 2: `subcategory` does not hold .* Got '\[4\]'"),
        ("news_parsed.tsv", "[0, 4, 0]", "[0, -4, 0]", "line 4: `title` does not hold numbers"),
        ("news_parsed.tsv", "[0, 4, 0]", "[" * 5000, "line 4: `title` does not hold numbers"),
        ("news_parsed.tsv", "[0, 4, 0]", f"[{'9' * 5000}]", "line 4: `title` does not hold .* Got '.9+…9+]'"),
        ("news_parsed.tsv", "[0, 4, 0]", "nan", "line 4: `title` does not hold numbers .* Got 'nan'"),
        (
            "news_parsed.tsv",
            "N2\t3",
            "N8\t3",
            r"not the articles of .*news.tsv. Got 1 missing \(N2\); 1 further",
        ),
        ("news_parsed.tsv", "subcategory", "sub", r"missing column\(s\) `subcategory`"),
    ],
)
def test_files_that_do_not_belong_together(folder, name, old, new, match):
    """Law: a file that is malformed, or not of the same preprocessing, is refused with its line."""
    path = folder / name
    assert old in path.read_text(encoding="utf-8")
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(DataError, match=match):
        read_parsed(folder)


def test_a_file_that_is_not_there(folder):
    """Law: each of the files is needed."""
    for name in FILES:
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(DataError, match=f"{name}: no such file"):
            read_parsed(folder)
        (folder / name).write_bytes(content)


def test_other_data_do_not_say_how_texts_were_split(shared):
    """Law: a model whose words were split elsewhere does not guess."""
    articles, _ = read_data(shared / "fixtures" / "data", None, "train_clean")
    with pytest.raises(ConfigError, match="split by its own preprocessing, which these data lack"):
        encode_articles(articles, TextConfig("parsed", words=("storm",)), ("title",))
