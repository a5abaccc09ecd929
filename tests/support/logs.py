"""Small data trees in the formats of EB-NeRD, Adressa and xMIND, written as their publishers do. Not here: tests."""

import json
from datetime import datetime

import pytest

from support.mind import write_mind

TITLES = {i: f"vote number {i % 3} storm {i}" for i in range(1, 10)}
USERS = {1: [1, 2, 3], 2: [3, 4], 3: [5]}  # EB-NeRD: user -> history; user 4 has none
IMPRESSIONS = [  # EB-NeRD: user, shown, clicked
    (1, [4, 5, 6, 7, 8, 9], [4]),
    (2, [5, 6, 7, 8, 9], [5, 9]),
    (4, [1, 2, 3], [2]),
    (3, [6, 7, 8], []),
    (3, [6, 7, 8], [8]),
]


def write_parquet(path, columns, types=None):
    """A Parquet file of these columns; `types`, column -> Arrow's name of its type, where it is not to be inferred."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    arrays = {name: pa.array(values, type=(types or {}).get(name)) for name, values in columns.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path)
    return path


def write_ebnerd(folder, impressions=IMPRESSIONS, **behaviors):
    """EB-NeRD's tree: articles.parquet, and `train` and `validation` with behaviors and histories. Further columns of
    behaviors.parquet, or other values of its own, are `behaviors`."""
    write_parquet(
        folder / "articles.parquet",
        {
            "article_id": list(TITLES),
            "title": list(TITLES.values()),
            "subtitle": [None, *["b"] * 8],
            "body": [None, *(f"body {i}" for i in list(TITLES)[1:])],
            "category": [100 + i % 2 for i in TITLES],
            "category_str": [("sport", "krimi")[i % 2] for i in TITLES],
            "subcategory": [[], *([i, 9] for i in list(TITLES)[1:])],
        },
    )
    for split, day in (("train", 18), ("validation", 25)):
        times = [datetime(2023, 5, day, 7, i) for i in range(len(impressions))]
        columns = {
            "impression_id": [day * 1000 + i for i in range(len(impressions))],
            "article_id": [None, *[4] * (len(impressions) - 1)],
            "impression_time": times,
            "article_ids_inview": [shown for _, shown, _ in impressions],
            "article_ids_clicked": [clicked for *_, clicked in impressions],
            "user_id": [user for user, *_ in impressions],
        }
        kept = {name: values for name, values in (columns | behaviors).items() if values is not None}
        write_parquet(folder / split / "behaviors.parquet", kept)
        history = {"user_id": list(USERS), "article_id_fixed": list(USERS.values())}
        write_parquet(folder / split / "history.parquet", history)
    return folder


EVENTS = [  # Adressa: day, hour, user, article, None for the front page
    *[(1, 8, "cx:a", i) for i in (1, 2)],
    (1, 7, "cx:a", 3),
    (2, 9, "cx:b", 4),
    (2, 9, "cx:b", None),
    (3, 8, "cx:a", 5),
    (3, 9, "cx:a", 5),
    (3, 9, "cx:b", 6),
    (3, 9, "cx:c", 7),
    (4, 9, "cx:a", 8),
    (4, 9, "cx:c", 9),
]


def write_adressa(folder, events=EVENTS):
    """A folder of Adressa's events, a file a day from 1 January 2017 on."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = {}
    for day, hour, user, article in events:
        event = {"eventId": 1, "userId": user, "time": int(datetime(2017, 1, day, hour).timestamp()), "url": "http://x"}
        if article is not None:
            topics = {"category1": f"nyheter|{('sport', 'krimi')[article % 2]}", "keywords": "a,b"}
            event |= {"id": f"h{article}", "title": TITLES[article]} | topics
        lines.setdefault(f"201701{day:02}", []).append(json.dumps(event))
    for name, those in lines.items():
        (folder / name).write_text("\n".join(those) + "\n", encoding="utf-8")
    return folder


def write_prepared(folder, seed=42):
    """Adressa as newsreclib prepares it: a click a line, beside 20 articles that its user never opened."""
    news = "".join(f"N{i}\tnyheter\tsport\tvote number {i}\n" for i in range(1, 31))
    drawn = " ".join(f"N{i}-0" for i in range(11, 31))
    lines = [f"U0\tN1 N2\tN3-1 {drawn}", f"U0\tN1 N2\tN4-1 {drawn}", f"U1\t\tN3-1 {drawn}", f"U2\tN5\tN6-1 {drawn}"]
    for split in ("train", "dev"):
        (folder / split).mkdir(parents=True)
        (folder / split / "news.tsv").write_text(news, encoding="utf-8")
        (folder / split / f"behaviors_{seed}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_xmind(folder):
    """MIND's folders beside xMIND's, whose titles are another language's; gives the translated training table."""
    for split in ("train", "dev"):
        write_mind(folder / f"MINDsmall_{split}")
        there = folder / "xMIND" / "ron" / f"xMINDsmall_{split}"
        there.mkdir(parents=True)
        lines = [f"n{i}\tvotul numarul {i}\trezumat {i}" for i in range(8)]
        (there / "news.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "xMIND" / "ron" / "xMINDsmall_train" / "news.tsv"
