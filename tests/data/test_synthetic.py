"""The demo world: its promises, checked on the files it writes."""

import ast
import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict, namedtuple
from operator import attrgetter

import numpy as np
import pandas as pd
import pytest
from support.small_world import SMALL

from rec_trak.data.articles import read_news_items
from rec_trak.data.impressions import read_pairwise, row_identities
from rec_trak.data.synthetic import WorldSettings, write_demo_world
from rec_trak.detection.metrics import detect
from rec_trak.errors import ConfigError

Row = namedtuple("Row", "user history titles clicked others poisoned line place")
identity = attrgetter("user", "history", "clicked")
BENCHMARKS = ("benchmark_mixed", "benchmark_honeypot", "benchmark_real_only", "promoted")
CLICK_LOGS = ("train_clean", "train_poisoned", "val_clean", "val_poisoned", *BENCHMARKS)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_demo_world(tmp_path_factory.mktemp("small"), seed=3, settings=SMALL)


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return write_demo_world(tmp_path_factory.mktemp("default"))


@pytest.fixture(params=["small", "default"])
def world(request):
    return request.getfixturevalue(request.param)


def settings_of(world):
    return SMALL if world.counts["articles"] == SMALL.articles else WorldSettings()


def rows(world, name):
    return read_rows(world.files[name])


@functools.cache
def read_rows(path):
    """The impressions of a file, articles as ids; `line` is the first, `place` the click's among the candidates."""
    table = pd.read_csv(path)
    found = []
    for (user, titles), lines in table.groupby(["user_id", "history_titles"], sort=False):
        [history] = set(lines.history_ids)
        [poisoned] = set(lines.poisoned)
        [clicked] = lines.candidate_id[lines.label == 1]
        others, place = tuple(lines.candidate_id[lines.label == 0]), list(lines.label).index(1)
        ids, titles = tuple(ast.literal_eval(history)), ast.literal_eval(titles)
        found.append(Row(user, ids, titles, clicked, others, poisoned, lines.index[0], place))
    return found


def fake_ids(world):
    return set(pd.read_csv(world.files["news_items"]).query("is_fake == 1").item_id)


def copied_by_bots(world):
    """Of each bot row: articles in the history that the closest genuine reader has read, and articles in it."""
    read, log = defaultdict(set), rows(world, "train_poisoned")
    for row in log:
        if not row.poisoned:
            read[row.user] |= {*row.history, row.clicked}
    histories = [set(row.history) - set(world.promoted) for row in log if row.poisoned]
    return [(max(len(history & articles) for articles in read.values()), len(history)) for history in histories]


def test_same_seed_gives_the_same_bytes_in_any_process(small, tmp_path):
    """The bytes depend on the seed and the settings alone: not on the process, nor on Python's hash seed."""
    program = "from rec_trak.data.synthetic import *; import sys; write_demo_world(sys.argv[1], 3, eval(sys.argv[2]))"
    command = [sys.executable, "-c", program, str(tmp_path), repr(SMALL)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "77"})
    written = {name: path.read_bytes() for name, path in small.files.items()}
    for name, path in small.files.items():
        assert (tmp_path / path.relative_to(small.folder)).read_bytes() == written[name]
    other = write_demo_world(tmp_path, seed=4, settings=SMALL)
    assert all(path.read_bytes() != written[name] for name, path in other.files.items())


def test_articles_are_distinct_readable_and_as_many_as_asked(world):
    """All ids and titles differ, fake ones are the asked share in many topics, and texts are short sentences."""
    news = pd.read_csv(world.files["news_items"])
    assert list(news.columns) == ["item_id", "title", "text", "is_fake", "category"]
    assert world.counts["articles"] == len(news) == news.item_id.nunique() == news.title.nunique()
    assert news.is_fake.sum() == world.counts["fake"] == round(0.12 * len(news))
    assert news.category.nunique() == 12
    assert news.query("is_fake == 1").category.nunique() >= 10
    assert news.title.str.split().str.len().between(3, 20).all()
    assert news.text.str.fullmatch(r"[A-Z].*\.").all()
    assert not news.title.str.contains(r"[{}|]").any()


def test_every_file_has_the_columns_of_the_format_and_the_counted_impressions(world):
    """One click among the asked number of candidates, in any place; World.counts says how many impressions."""
    for name in CLICK_LOGS:
        columns = "user_id,history_titles,history_ids,candidate_id,candidate_title,label,candidate_is_fake,poisoned\n"
        assert world.files[name].open(encoding="utf-8").readline() == columns
        log = rows(world, name)
        assert len(log) == world.counts[name]
        assert {len(row.others) for row in log} == {settings_of(world).candidates - 1}
        assert {row.place for row in log} > {0} or len(log) < 5


def test_candidates_and_histories_agree_with_the_articles(world):
    """Titles, ids and fake marks name the same article everywhere; nobody is shown one twice, or a read one."""
    news = pd.read_csv(world.files["news_items"]).set_index("item_id")
    title = news.title.to_dict()
    for name in CLICK_LOGS:
        table = pd.read_csv(world.files[name])
        assert (news.title.loc[table.candidate_id].to_numpy() == table.candidate_title).all()
        assert (news.is_fake.loc[table.candidate_id].to_numpy() == table.candidate_is_fake).all()
        for row in rows(world, name):
            assert [title[a] for a in row.history] == row.titles
            articles = [*row.history, row.clicked, *row.others]
            assert len(set(articles)) == len(articles)


def test_genuine_histories_grow_click_by_click(world):
    """Each genuine row's history is the previous one and its click, cut to the newest; the first has 2 articles."""
    most = settings_of(world).most_history
    for name in ("train_poisoned", "val_poisoned", "benchmark_mixed"):
        logs = defaultdict(list)
        for row in rows(world, name):
            if not row.poisoned:
                logs[row.user].append(row)
        for log in logs.values():
            grown = {(*row.history, row.clicked)[-most:] for row in log}
            [first] = {row.history for row in log} - grown
            assert len(first) == 2


def test_clean_logs_hold_every_row_without_fakes_and_no_other(world):
    """No fake article in a clean log; its rows are those genuine ones whose history and click are real."""
    fake = fake_ids(world)
    for part in ("train", "val"):
        clean, full = rows(world, f"{part}_clean"), rows(world, f"{part}_poisoned")
        assert not any(fake & {*row.history, row.clicked, *row.others} for row in clean)
        real = [row for row in full if not row.poisoned and not fake & {*row.history, row.clicked}]
        assert sorted(map(identity, clean)) == sorted(map(identity, real))
        slates = {(*identity(row), *sorted(row.others)) for row in clean}
        assert slates >= {(*identity(row), *sorted(row.others)) for row in real if not fake & {*row.others}}


def test_users_are_split_and_mapped(world):
    """Train, validation and held-out readers are different people; the map numbers those of train_poisoned from 1."""
    users = {name: {row.user for row in rows(world, name)} for name in CLICK_LOGS}
    assert not users["train_poisoned"] & users["val_poisoned"]
    assert not users["benchmark_mixed"] & (users["train_poisoned"] | users["val_poisoned"])
    assert users["train_clean"] < users["train_poisoned"]
    assert json.loads(world.files["user_to_idx_map"].read_text()) == {
        user: i + 1 for i, user in enumerate(sorted(users["train_poisoned"]))
    }


def test_benchmarks_are_the_held_out_rows_by_what_was_clicked(world):
    """honeypot (a fake article clicked) and real_only (a real one) together are mixed."""
    fake = fake_ids(world)
    mixed = rows(world, "benchmark_mixed")
    for name, is_fake in (("benchmark_honeypot", True), ("benchmark_real_only", False)):
        asked = sorted(identity(row) for row in mixed if (row.clicked in fake) == is_fake)
        assert sorted(map(identity, rows(world, name))) == asked


def test_the_attack_is_the_one_that_was_asked_for(world):
    """Poisoned rows are bots' clicks on promoted articles, so many on each; genuine readers click each of them too."""
    settings = settings_of(world)
    news = pd.read_csv(world.files["news_items"]).set_index("item_id")
    assert len(set(world.promoted)) == settings.promoted == news.category.loc[list(world.promoted)].nunique()
    assert (news.is_fake.loc[list(world.promoted)] == 1).all()
    log = rows(world, "train_poisoned")
    for article in world.promoted:
        assert sum(row.poisoned for row in log if row.clicked == article) == settings.bot_clicks
        assert sum(not row.poisoned for row in log if row.clicked == article) >= settings.genuine_clicks
    assert sum(row.poisoned for row in log) == world.counts["poisoned"] == settings.promoted * settings.bot_clicks
    genuine = [row for row in log if not row.poisoned]
    assert sum(row.clicked in world.promoted for row in genuine) == world.counts["genuine_on_promoted"]
    assert not {row.user for row in genuine} & {row.user for row in log if row.poisoned}
    assert any({*row.history} & {*world.promoted} for row in log if row.poisoned)  # a bot's clicks join its history
    for other in {*CLICK_LOGS} - {"train_poisoned"}:
        assert not any(row.poisoned for row in rows(world, other))


def test_targets_are_promoted_articles_shown_to_held_out_readers_who_have_not_read_them(world):
    """So many different held-out readers for each promoted article; it is the clicked candidate, new to them."""
    targets = rows(world, "promoted")
    held_out = {row.user for row in rows(world, "benchmark_mixed")}
    assert len({row.user for row in targets} & held_out) == len(targets)
    assert Counter(row.clicked for row in targets) == dict.fromkeys(world.promoted, settings_of(world).targets)
    assert all(len(row.history) >= 2 for row in targets)


def test_bots_copy_the_asked_share_of_one_genuine_reader(tmp_path, default):
    """With all copied, a history is one reader's but for promoted articles and their fillers; else about 70 % is."""
    world = write_demo_world(tmp_path, 5, dataclasses.replace(SMALL, copied=1.0))
    assert all(copied >= length - SMALL.promoted for copied, length in copied_by_bots(world))
    assert 0.6 < np.mean([copied / length for copied, length in copied_by_bots(default) if length >= 6]) < 0.85


def test_no_plain_feature_gives_the_bots_away(default):
    """Among clicks on the promoted articles, nothing that can be read off a row separates bots from readers."""
    news = pd.read_csv(default.files["news_items"]).set_index("item_id")
    active = Counter(row.user for row in rows(default, "train_poisoned"))
    log = [row for row in rows(default, "train_poisoned") if row.clicked in default.promoted]
    topic, fake = news.category.to_dict(), news.is_fake.to_dict()
    features = {
        "length of the id": [len(row.user) for row in log],
        "number in the id": [int(row.user[1:]) for row in log],
        "line": [row.line for row in log],
        "place of the click": [row.place for row in log],
        "history length": [len(row.history) for row in log],
        "own topic": [np.mean([topic[a] == topic[row.clicked] for a in row.history]) for row in log],
        "topics": [len({topic[a] for a in row.history}) / len(row.history) for row in log],
        "fakes read": [np.mean([fake[a] for a in row.history]) for row in log],
        "promoted read": [len({*row.history} & {*default.promoted}) for row in log],
        "rows of the user": [active[row.user] for row in log],
    }
    poisoned = np.array([row.poisoned for row in log])
    auroc = {name: detect(values, poisoned, 1).auroc for name, values in features.items()}
    assert all(0.25 < value < 0.75 for value in auroc.values()), auroc
    assert all(0.4 < auroc[name] < 0.6 for name in ("number in the id", "line", "place of the click")), auroc


def test_what_a_reader_has_read_tells_what_the_reader_clicks(default):
    """Held-out readers prefer the topics of their history: counting them ranks the click with an AUC above 0.6."""
    topic = pd.read_csv(default.files["news_items"]).set_index("item_id").category.to_dict()
    aucs = []
    for row in rows(default, "benchmark_mixed"):
        read = [topic[a] for a in row.history]
        own, others = read.count(topic[row.clicked]), [read.count(topic[a]) for a in row.others]
        aucs.append(np.mean([(own > other) + 0.5 * (own == other) for other in others]))
    assert np.mean(aucs) > 0.6


def test_default_sizes_are_those_of_the_demo(default):
    """1,500 to 2,000 clean training rows, and 4 to 5 % of the poisoned ones injected."""
    assert 1500 <= default.counts["train_clean"] <= 2000
    assert 0.04 <= default.counts["poisoned"] / default.counts["train_poisoned"] <= 0.05


def test_the_readers_read_every_file(small):
    """The project's own readers give the counted rows, whole, and find every clean row among the poisoned ones."""
    articles = read_news_items(small.files["news_items"])
    logs = {name: read_pairwise(small.files[name], articles) for name in CLICK_LOGS}
    for name, log in logs.items():
        assert len(log) == small.counts[name]
        assert (log.candidates.lengths == SMALL.candidates).all()
    assert logs["train_poisoned"].columns["poisoned"].count("1") == small.counts["poisoned"]
    clean, full = (set(row_identities(logs[name], articles)) for name in ("train_clean", "train_poisoned"))
    assert clean < full
    assert {articles.ids[a] for a in logs["promoted"].clicked} == set(small.promoted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bot_clicks": 9}, "`bot_clicks` is out of range. Got 9, expected 1 to 8"),
        ({"genuine_clicks": 16}, "`genuine_clicks` is out of range. Got 16, expected 1 to 15"),
        ({"targets": 7}, "`targets` is out of range. Got 7, expected 1 to 6"),
        ({"articles": 37}, "`articles` is out of range. Got 37, expected 40 to 4000"),
        ({"fake_share": 0.001}, "`fake_share` is out of range"),
        ({"promoted": 0}, "`promoted` is out of range. Got 0"),
        ({"copied": float("nan")}, "`copied` is out of range. Got nan, expected 0 to 1"),
    ],
)
def test_sizes_that_no_world_can_have_are_refused(tmp_path, change, message):
    """A size out of range is named with its value and its range, and nothing is written."""
    with pytest.raises(ConfigError, match=message):
        write_demo_world(tmp_path / "world", settings=dataclasses.replace(SMALL, **change))
    assert not (tmp_path / "world").exists()


def test_bounds_leave_every_draw_possible(tmp_path):
    """Worlds at the edge of what is allowed can still be written."""
    edge = dataclasses.replace(SMALL, articles=40, bot_clicks=8, genuine_clicks=15, targets=6, fake_share=0.5)
    assert [write_demo_world(tmp_path, seed, edge).counts["poisoned"] for seed in range(3)] == [16] * 3


def test_a_seed_and_a_folder_that_cannot_be_used_are_refused(tmp_path):
    """The seed is checked like a size; a file where the folder should be is one line, not a traceback."""
    with pytest.raises(ConfigError, match="`seed` is out of range. Got -1"):
        write_demo_world(tmp_path, seed=-1, settings=SMALL)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file: the world cannot be written .* Give a folder"):
        write_demo_world(tmp_path / "file", settings=SMALL)
