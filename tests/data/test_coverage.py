"""How much of what rows show a model's dictionaries know: counted by hand, told always, little is warned of."""

import json

import pytest
from support import finished, tiny
from support.commands import call, fail, succeed

from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.articles import read_news_items
from rec_trak.data.coverage import Coverage, check_coverage, coverage
from rec_trak.data.impressions import read_pairwise
from rec_trak.errors import DataError, RecTrakWarning


@pytest.fixture
def world(tmp_path):
    """Rows, and the table that they were read against."""
    data = tiny.write_tree(tmp_path / "data")
    articles = read_news_items(data / "news_items.csv")
    return read_pairwise(data / "models" / "train_clean.csv", articles), articles


def test_words_topics_and_users_are_counted(world):
    """Words each time they occur in an article that a row shows, cut to the length that is read; users once each."""
    rows, articles = world
    used = set(rows.history.values.tolist()) | set(rows.candidates.values.tolist())
    read = [word for a in used for word in articles.titles[a].lower().split()[:2]]
    text = TextConfig("whitespace", title_length=2, words=("storm", "vote"), categories=("x",))
    users = tuple(str(user) for user in dict.fromkeys(rows.user_ids))[:3]
    found = coverage(rows, articles, ModelConfig("lstur", ("title", "category"), text=text, users=users))
    known = sum(word in ("storm", "vote") for word in read)
    assert found == (
        Coverage("words of titles", known, len(read)), Coverage("categories", 0, 0),
        Coverage("users", 3, len(set(rows.user_ids))),
    )  # fmt: skip
    assert str(found[2]) == "users 12 % (3 of 24)"
    assert (found[1].share, Coverage("x", 1, 4).share) == (1.0, 0.25)


def test_a_language_model_has_no_words_to_miss(world):
    """Its tokeniser takes any text apart."""
    text = TextConfig("pretrained", "folder")
    assert coverage(*world, ModelConfig("nrms", ("title",), text=text)) == ()


def test_little_is_a_warning_and_no_user_is_refused():
    """Half and more is told alone."""
    config = ModelConfig("lstur", users=("u1", "u2"))
    check_coverage((Coverage("words of titles", 5, 10), Coverage("users", 1, 1)), config)
    with pytest.warns(RecTrakWarning, match=r"little of the rows is known: words of titles 49 % \(49 of 100\)"):
        check_coverage((Coverage("words of titles", 49, 100),), config)
    with pytest.raises(DataError, match=r"no user of the click log is known. Got 7 users, .* its 2, such as u1"):
        check_coverage((Coverage("users", 0, 7),), config)


@pytest.mark.long
def test_it_is_told_in_terminal_metadata_and_page(tmp_path):
    """Of a run with all words known."""
    folder = finished.finished_run(tmp_path)
    told = json.loads((folder / "metadata.json").read_text())["coverage"]
    assert told["words of titles"]["known"] == told["words of titles"]["shown"] > 0
    out = succeed("featurize", "--config", str(tmp_path / "trak.yaml"))
    assert "the model knows of the rows: words of titles 100 % (" in out
    succeed("report", "--results_dir", str(folder))
    assert "words of titles 100 % of" in (folder / "report.html").read_text(encoding="utf-8")


def test_other_users_and_other_words(tmp_path):
    """Users renamed in the log: refused. A few words of another dictionary: warned of, with the counts."""
    tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tmp_path / "data", "lstur")
    path = tmp_path / "data" / "models" / "train_clean.csv"
    lines = finished.read(path)
    finished.write(path, [line | {"user_id": f"x{line['user_id']}"} for line in lines])
    config = str(tiny.write_config(tmp_path))
    assert "no user of the click log is known" in fail("featurize", "--config", config)
    finished.write(path, lines)
    model = tmp_path / "runs" / "model.json"
    told = json.loads(model.read_text())
    told["text"]["words"] = [word if word == "storm" else f"x{i}" for i, word in enumerate(told["text"]["words"])]
    model.write_text(json.dumps(told))
    result = call("featurize", "--config", config)
    assert result.returncode == 0, result.stderr
    assert "little of the rows is known: words of titles" in result.stderr
