"""Arrays by article id that the YAML names, for models that know an article by more than its texts: numbers in a
knowledge base, images, vectors made beforehand. Not here: the articles' own texts and topics.

Files are read with numpy alone, and nothing in them is run.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from rec_trak.arrays import ArrayError, read_archive, read_array
from rec_trak.errors import ConfigError, DataError, listed, reason
from rec_trak.words import QUOTE, outline, plain, quoted

ID = "article_id"  # the array, field or key that says which article each entry is of
TAKEN = ("title", "body", "category", "subcategory")


@dataclass(frozen=True)
class Further:
    """Arrays with an entry an article.

    Attributes:
        ids: n article ids, all different.
        views: name -> (n, ...) int64 or float32, handed to the model as `batch.articles[name]`.
        source: the file or files.
    """

    ids: tuple[str, ...]
    views: dict[str, np.ndarray]
    source: str

    __repr__ = outline

    @cached_property
    def position(self) -> dict[str, int]:
        """Article id -> its entry."""
        return {article: i for i, article in enumerate(self.ids)}

    def of(self, ids: Sequence[str], used: np.ndarray) -> dict[str, np.ndarray]:
        """The views over a table of A articles: name -> (A, ...), zeros for articles that are not here.

        Args:
            ids: of the table.
            used: positions in it that rows show.

        Raises:
            DataError: one of these is not here.
        """
        places = np.array([self.position.get(article, -1) for article in ids], dtype=np.int64)
        missing = [ids[a] for a in used.tolist() if places[a] < 0]
        if missing:
            raise DataError(
                f"`article_ids`: {self.source}: {listed('article(s) of the rows are not there', missing, 3)}. Got "
                f"{len(self.ids):,} articles, expected all {len(used):,} that the rows show. Add them, by their ids "
                f"(`{ID}`), with zeros where there is nothing to say."
            )
        found = {}
        for name, values in self.views.items():
            found[name] = np.zeros((len(ids), *values.shape[1:]), dtype=values.dtype)
            found[name][places >= 0] = values[places[places >= 0]]
        return found


def read_further(given: str | Mapping[str, str], ids: Sequence[str], table: str) -> Further:
    """The arrays that `article_ids` names.

    Args:
        given: a .npy: one array, its view named as the file is; or a structured one, whose fields are views. A .npz:
            each array is a view. Or view -> .npy. An array, field or key `article_id` holds the entries' ids; without
            one, entries stand in the order of the article table.
        ids: of that table.
        table: its file, for messages.

    Raises:
        ConfigError: no view, a name that is taken, or a file that is neither.
        DataError: a file cannot be read; arrays of unequal length; ids that are no text or numbers, or repeated; values
            that are no numbers, or not finite.
    """
    arrays = _arrays(given)
    source = given if isinstance(given, str) else ", ".join(dict.fromkeys(given.values()))
    told = arrays.pop(ID, None)
    wrong = [name for name in arrays if name in TAKEN]
    if not arrays or wrong:
        got = listed("taken name(s)", wrong) if wrong else f"`{ID}` alone"
        raise ConfigError(
            f"`article_ids`: no view of a name of its own. Got {got}, expected one that is none of {', '.join(TAKEN)}. "
            "Name it otherwise."
        )
    found = _ids(told, source) if told is not None else tuple(ids)
    for name, values in arrays.items():
        if values.ndim == 0 or len(values) != len(found):
            expected = f"one entry for each of the {len(found):,} " + (
                f"ids in `{ID}`" if told is not None else f"articles of {table}, in its order"
            )
            raise DataError(
                f"`article_ids`: {source}: `{plain(name, QUOTE)}` has not one entry an article. Got shape "
                f"{values.shape}, expected {expected}. Give the ids as `{ID}` beside it, or mend the array."
            )
    return Further(found, {name: _numbers(name, values, found, source) for name, values in arrays.items()}, source)


def _arrays(given: str | Mapping[str, str]) -> dict[str, np.ndarray]:
    if isinstance(given, str):
        loaded = _load(given)
        if isinstance(loaded, dict):
            return loaded
        if loaded.dtype.names:
            return {name: loaded[name] for name in loaded.dtype.names}
        return {Path(given).stem: loaded}
    arrays = {}
    for name, path in given.items():
        arrays[name] = _load(path)
        if isinstance(arrays[name], dict) or arrays[name].dtype.names:
            raise ConfigError(
                f"`article_ids`: `{plain(name, QUOTE)}` is one view, and {path} holds several arrays. Got a file of "
                "several, expected a plain .npy. Name that file alone: `article_ids: FILE`."
            )
    return arrays


def _load(path: str) -> np.ndarray | dict[str, np.ndarray]:
    try:
        return read_archive(path) if zipfile.is_zipfile(path) else read_array(path)
    except FileNotFoundError:
        raise DataError(f"`article_ids`: {path}: no such file. Give a .npy or .npz.") from None
    except (ArrayError, OSError) as error:
        raise DataError(
            f"`article_ids`: {path}: cannot be read ({reason(error)}). Give a .npy or .npz of numbers, and ids as text "
            "(`ids.astype(str)`), not as Python objects."
        ) from None


def _ids(told: np.ndarray, source: str) -> tuple[str, ...]:
    if told.ndim != 1 or told.dtype.kind not in "Uiu":
        raise DataError(
            f"`article_ids`: {source}: `{ID}` holds no ids. Got {told.dtype} of shape {told.shape}, expected (n,) "
            "texts or whole numbers. Write them with `ids.astype(str)`."
        )
    ids = tuple(map(str, told.tolist()))
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        repeated = [one for one in ids if one in seen or seen.add(one)]
        raise DataError(
            f"`article_ids`: {source}: {listed('id(s) stand more than once', dict.fromkeys(repeated), 3)}. Keep one "
            "entry of each."
        )
    return ids


def _numbers(name: str, values: np.ndarray, ids: Sequence[str], source: str) -> np.ndarray:
    """The values as int64 or float32."""
    where = f"`article_ids`: {source}: `{plain(name, QUOTE)}`"
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where} holds no numbers. Got {values.dtype}, expected whole numbers or fractions.")
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))
    if len(bad):
        raise DataError(
            f"{where} holds NaN or Inf in {len(bad):,} article(s), the first {quoted(ids[bad[0]])}. Expected finite "
            "numbers in float32. Mend the array."
        )
    return values
