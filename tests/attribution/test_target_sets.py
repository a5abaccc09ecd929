"""A name means one set of targets, whatever kind it is, and a wrong one is told."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from support import tiny
from support.mind import write_mind

from rec_trak.attribution.influence import target_influence
from rec_trak.attribution.job import Run
from rec_trak.attribution.session import featurize, featurize_targets
from rec_trak.attribution.target_sets import named_targets
from rec_trak.config.analysis import analysis_config, read_analysis_config
from rec_trak.config.reading import Reading
from rec_trak.config.targets import TargetSet
from rec_trak.data.sources import read_data
from rec_trak.errors import ConfigError, DataError, RecTrakWarning
from rec_trak.results.ranking import rows_table
from rec_trak.results.target_tables import ends_table, targets_table
from rec_trak.scoring.streaming import Best

NEEDED = {"model_config": "m.json", "data_path": "data", "output_dir": "out"}


@pytest.fixture
def world(tmp_path):
    """A function that gives the job and run of a tiny tree whose YAML has these targets and further keys."""

    def _world(targets, dataset_type="train_clean", **keys):
        job = tiny.make_job(tmp_path, targets=targets, **keys)
        return job, Run(read_analysis_config(tmp_path / "trak.yaml"), dataset_type, "clean")

    return _world


def named(world, definition, **keys):
    job, run = world({"set": definition}, **keys)
    return job, named_targets(run, job, "set")


@pytest.mark.parametrize("as_mapping", [True, False])
def test_a_csv(world, tmp_path, as_mapping):
    """A plain file name, a mapping and a path on the command line are the same set; a path's name is its stem."""
    path = str(tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv")
    job, found = named(world, {"csv": path} if as_mapping else path)
    assert (found.name, len(found), found.definition) == ("set", 11, {"csv": path})
    by_path = named_targets(world({})[1], job, path)
    assert by_path.name == "benchmark_mixed"
    np.testing.assert_array_equal(by_path.impressions.candidates.values, found.impressions.candidates.values)


def test_count_takes_a_seeded_subset(world, tmp_path):
    """In the set's own order; more than there are is all of them."""
    definition = {"csv": str(tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv")}
    _, whole = named(world, definition)
    _, part = named(world, definition | {"count": 4}, seed=3)
    places = [whole.impressions.sources.index(source) for source in part.impressions.sources]
    assert len(part) == 4
    assert places == sorted(places)
    assert named(world, definition | {"count": 4}, seed=3)[1].impressions.sources == part.impressions.sources
    assert named(world, definition | {"count": 4}, seed=4)[1].impressions.sources != part.impressions.sources
    assert len(named(world, definition | {"count": 99})[1]) == 11


@pytest.mark.parametrize(("users", "count"), [("train", 24), ("train_poisoned", 32)])
def test_exposure_to_a_data_set_of_the_tree(world, users, count):
    """`train` is the data set that is analysed; with a `count` all of its impressions are drawn from, whatever the
    sample."""
    job, found = named(world, {"article": "n3", "users": users, "count": 99}, sample_size=5)
    assert len(found) == count
    assert {job.articles.ids[a] for a in found.impressions.clicked} == {"n3"}


def test_without_a_count_those_are_asked_who_have_not_read_the_article(world):
    """The exposure to users who have it in no history and did not click it; few of them are warned of."""
    with pytest.warns(RecTrakWarning, match=r"few users have not read the article.*expected at least 50. Name more"):
        job, found = named(world, {"article": "n3", "users": "train"})
    article = job.articles.position["n3"]
    rows = job.inputs.impressions
    readers = {user for user, h, c in zip(rows.user_ids, rows.history, rows.clicked, strict=True) if article in [*h, c]}
    assert 0 < len(found) == 24 - len(readers)
    assert readers.isdisjoint(found.impressions.user_ids)


def test_a_set_that_an_earlier_build_stored_is_meant_again(world):
    """Where the save directory holds the exposure to all impressions under this name, that is what is scored."""
    definition = {"article": "n3", "users": "train"}
    job, whole = named(world, definition | {"count": 99})
    featurize(job)
    featurize_targets(job, "set", whole.impressions)
    _, found = named(world, definition)
    assert len(found) == len(whole) == 24
    assert target_influence(job, "set", found.impressions).targets == 24


def test_exposure_to_a_file_of_impressions(world, tmp_path):
    """An article's id may be a number in the YAML."""
    path = tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv"
    news = tmp_path / "data" / "news_items.csv"
    world({})
    news.write_text(news.read_text(encoding="utf-8").replace("n11,", "77,"), encoding="utf-8")
    for log in (tmp_path / "data").rglob("*.csv"):
        log.write_text(log.read_text(encoding="utf-8").replace("n11", "77"), encoding="utf-8")
    job, found = named(world, {"article": 77, "users": str(path), "count": 99})
    assert {job.articles.ids[a] for a in found.impressions.clicked} == {"77"}
    assert len(found) == 11


def test_candidates_to_explain(world, tmp_path):
    """A CSV that names user, history, candidates and the one to explain."""
    path = tmp_path / "explain.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["user_id", "history_ids", "candidate_ids", "explained_id"], ["u1", "n0", "n1 n2", "n2"]]
        )
    _, found = named(world, {"explain": str(path)})
    assert [list(found.impressions.candidates[0])] == [[2, 1]]


def test_mind_targets_with_articles_of_their_own_are_scored(world, tmp_path):
    """A dev folder may have articles that the run lacks; they go through the model, and the store stays the run's."""
    world({})
    train, dev = write_mind(tmp_path / "mind"), write_mind(tmp_path / "dev")
    with open(dev / "news.tsv", "a", encoding="utf-8") as file:
        file.write("n99\tnews\tworld\tvote storm\tbody\turl\t[]\t[]\n")
    behaviors = (dev / "behaviors.tsv").read_text(encoding="utf-8").replace("n7-0", "n99-0")
    (dev / "behaviors.tsv").write_text(behaviors, encoding="utf-8")
    keys = {"data_path": str(train), "news_items_path": None}
    job, found = named(world, {"mind": str(dev)}, **keys)
    featurize(job)
    result = target_influence(job, "set", found.impressions, articles=found.articles)
    assert result.targets == 12
    assert len(found.articles) == len(job.articles) + 1
    assert (targets_table(found.impressions, found.articles, np.zeros(12))["other_candidates"].str.count("n99")).all()
    assert len(named(world, {"article": "n3", "users": str(dev), "count": 99}, **keys)[1]) == 12
    assert len(named(world, {"article": "n3", "users": "train", "count": 99}, **keys)[1]) == 12
    for users in ("val", "train_poisoned"):
        with pytest.raises(ConfigError, match=f"the data tree holds one click log. Got `users` {users}"):
            named(world, {"article": "n3", "users": users}, **keys)


def test_users_of_a_parsed_tree(shared, tmp_path):
    """What a preprocessing left is read as it is; another one's articles are refused."""
    tree = shared / "fixtures" / "yusanshi" / "data"
    articles, impressions = read_data(tree, None, "train_clean", Reading("parsed"))
    config = analysis_config(NEEDED | {"data_path": str(tree), "data_format": "parsed"})
    definition = TargetSet(article=articles.ids[5], users="train", count=1000)
    run = Run(replace(config, targets={"set": definition}), "train_clean", "clean")
    job = tiny.make_job(tmp_path)
    found = named_targets(run, replace(job, articles=articles), "set")
    assert len(found) == len(impressions)
    assert {articles.ids[a] for a in found.impressions.clicked} == {articles.ids[5]}
    with pytest.raises(DataError, match="news.tsv is not the run's .*news_items.csv. Got .* expected the same 12"):
        named_targets(run, job, "set")


def test_users_of_any_data_set(world, tmp_path):
    """Law: users may be those of any data set of the tree by its name; a data set without a part in its name has no
    validation set of its own, least of all itself."""
    tree = tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tree)
    log = tree / "models" / "train_poisoned.csv"
    log.rename(log.with_name("corrected.csv"))
    _, found = named(world, {"article": "n1", "users": "corrected", "count": 99})
    assert len(found) == 32
    job, run = world({"set": {"article": "n1", "users": "val"}}, "corrected")
    with pytest.raises(DataError, match="no click log. Got neither models/val.csv"):
        named_targets(run, job, "set")


def test_a_log_as_targets(world, tmp_path):
    """Law: `log` and `mind` are the same; a CSV is a log too; a folder without one is refused."""
    mind = write_mind(tmp_path / "dev")
    tree = tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tree)
    titles = {line.split(",")[0]: line.split(",")[1] for line in (tree / "news_items.csv").read_text().splitlines()}
    (mind / "news.tsv").write_text("".join(f"n{i}\tc\ts\t{titles[f'n{i}']}\t\tu\t[]\t[]\n" for i in range(8)))
    csv = str(tree / "benchmarks" / "benchmark_mixed.csv")
    found = [named(world, {key: str(mind)})[1].impressions for key in ("log", "mind")]
    assert [len(one) for one in found] == [12, 12]
    assert named(world, {"log": csv})[1].impressions.sources == named(world, {"csv": csv})[1].impressions.sources
    with pytest.raises(DataError, match="no log of impressions"):
        named(world, {"log": str(tree)})


def test_what_means_nothing(world, tmp_path):
    """Neither a name nor a file; users that are neither; an unknown article; an empty file."""
    job, run = world({"honeypot": "gone.csv", "a": {"article": "n1", "users": "nobody"}})
    with pytest.raises(ConfigError, match="--targets: no such file or name. Got gone.csv, expected a CSV or one"):
        named_targets(run, job, "honeypot")
    with pytest.raises(ConfigError, match=r"`targets`: a folder where .* write `data: \{mind: .*data\}`"):
        named_targets(run, job, str(tmp_path / "data"))
    with pytest.raises(ConfigError, match="Got honeypto, expected .*honeypot, a. Did you mean honeypot?"):
        named_targets(run, job, "honeypto")
    with pytest.raises(ConfigError, match="targets `a`: no such users. Got nobody, expected a pairwise CSV, a folder"):
        named_targets(run, job, "a")
    with pytest.raises(DataError, match="targets `set`: unknown article. Got `n99`"):
        named(world, {"article": "n99", "users": "train"})
    with pytest.raises(DataError, match="no click log"):
        named(world, {"article": "n1", "users": "val"})
    empty = tmp_path / "empty.csv"
    empty.write_text("user_id,history_titles,candidate_id,label,candidate_is_fake\n", encoding="utf-8")
    with pytest.raises(DataError, match="only a header"):
        named(world, {"csv": str(empty)})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"artcle": "n1", "users": "train"}, r"unknown key `artcle` \(did you mean `article`\?\)"),
        ({"csv": "a.csv", "mind": "b"}, "`targets.set` must say one thing. Got csv and mind, expected exactly one of"),
        ({"count": 3}, "`targets.set` must say one thing. Got none"),
        ({"article": "n1"}, "Got `article` alone, expected `article` and `users`"),
        ({"csv": "a.csv", "users": "train"}, "Got `users` alone"),
        ({"csv": "a.csv", "count": 0}, "`count` is too small. Got 0"),
        (3, "wrong type. Got 3, expected text or keys and values"),
    ],
)
def test_definitions_are_checked_when_the_yaml_is_read(value, message):
    """Before any file is."""
    with pytest.raises(ConfigError, match=message):
        analysis_config(NEEDED | {"targets": {"set": value}})


def test_tables(world, tmp_path):
    """A line a target; and for each target its rows in order of influence, of the right sign alone."""
    job, found = named(world, str(tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv"))
    table = targets_table(found.impressions, found.articles, np.arange(11.0))
    assert table["target"].tolist() == list(range(11))
    assert table["margin"].tolist() == list(range(11))
    assert table["title"].tolist() == [job.articles.titles[a] for a in found.impressions.clicked]
    best = Best(np.array([[3, 1], [2, 0]]), np.array([[2.0, 1.0], [0.5, -0.1]], dtype=np.float32))
    ends = ends_table(best, 1, rows_table(job.impressions, job.articles))
    numbers = ends[["target", "rank", "sample_idx", "score"]].to_numpy().tolist()
    assert numbers == [[0, 1, 3, 2], [0, 2, 1, 1], [1, 1, 2, 0.5]]
    assert ends["title"].tolist() == [job.articles.titles[job.impressions.clicked[row]] for row in (3, 1, 2)]
    nothing = ends_table(best, -1, rows_table(job.impressions, job.articles))
    assert nothing["sample_idx"].tolist() == [0]
