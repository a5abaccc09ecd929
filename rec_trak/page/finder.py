"""Every row of a run in few bytes, so that a page finds each by user, article, headline or number. Not here: HTML.

Users and articles are lists, rows are numbers of their entries; all of it is compressed, and the browser unpacks it. Up
to MOST bytes stand in the page; a larger index stands in a second file beside it, which is such a page by itself.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from rec_trak.page.naming import Names
from rec_trak.page.rows import SHORT, Titles
from rec_trak.page.tables import shown
from rec_trak.results.files import Results

MOST = 4_000_000  # bytes of the index in the page itself
SCORES = 2  # rankings that the index has the numbers of
KEPT = np.uint32(0xFFFFF800)  # of a float's bits: 12 of its fraction, which are more digits than the page shows


def row_index(results: Results, sets: Sequence[Results], titles: Titles, names: Names) -> dict[str, str]:
    """The parts of the index, name -> base64 of zlib.

    `texts`: JSON with `rows`, `users` ([id, place] each), `articles` ([id, headline, class, place] each) and `scores`,
    the names of the rankings, self-influence first. `user`, `article`: uint32 (N,), which of these. `score0`, ...:
    float32 (N,).
    """
    user, users = _sorted(*results.rows.codes("user_id"))
    article, articles = _sorted(*results.rows.codes("article_id"))
    rankings = [results, *sets][:SCORES]
    texts = {
        "rows": len(results.scores),
        "users": [[shown(u, 60), names.place("user", u)] for u in users],
        "articles": [[shown(a, 60), *_article(a, titles), names.place("article", a)] for a in articles],
        "scores": ["self-influence", *(f"influence on {shown(one.folder.name, 40)}" for one in rankings[1:])],
    }
    parts = {"texts": json.dumps(texts, separators=(",", ":")).encode()}
    parts |= {name: codes.astype("<u4").tobytes() for name, codes in (("user", user), ("article", article))}
    parts |= {f"score{i}": _short(one.scores).tobytes() for i, one in enumerate(rankings)}
    return {name: base64.b64encode(zlib.compress(part, 9)).decode() for name, part in parts.items()}


def _sorted(codes: np.ndarray, values: list[str]) -> tuple[np.ndarray, list[str]]:
    """The same with the values in order."""
    order = sorted(range(len(values)), key=values.__getitem__)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place[codes], [values[i] for i in order]


def _article(article: str, titles: Titles) -> tuple[str, str]:
    title, label = titles.get(article, ("", ""))
    return shown(title, SHORT), label


def size(index: dict[str, Any]) -> int:
    """Bytes that it takes in a page."""
    return sum(map(len, index.values()))


def _short(scores: np.ndarray) -> np.ndarray:
    """(N,) float32 with zeros where no digit of a page is, which compress."""
    bits = scores.astype("<f4").view("<u4")
    return ((bits + np.uint32(0x400)) & KEPT).view("<f4")
