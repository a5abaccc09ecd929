"""Articles and rows of a click log, kept on disk as they were read, and mapped into memory the next time.

A log of a million impressions takes a minute to read and check; every command reads it. What reading gave lies in one
file of the cache folder: arrays, strings in buffers, and a hash of all of it. It counts for files of the same content,
read in the same way by the same code, and for nothing else; one that is damaged is told of and made again.

Not here: reading a log, or which files a log is.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import platform
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rec_trak.config.documents import load_json
from rec_trak.data.articles import Articles
from rec_trak.data.cache import cache_folder, open_cached
from rec_trak.data.impressions import Impressions
from rec_trak.data.ragged import Ragged
from rec_trak.data.texts import Texts
from rec_trak.disk import replacing
from rec_trak.errors import RecTrakWarning, reason

MAGIC = b"rec_trak tables\n"
DIGEST, ALIGNED, HEAD = 16, 64, 8  # bytes: of a hash, what arrays start at, of the header's length
LEAST = 8 * 2**20  # bytes of all files together; smaller logs are read as quickly
AT_ONCE = 2**24  # bytes read at once to be hashed
TABLE = ("ids", "titles", "bodies", "categories", "subcategories")
LISTS = ("history", "candidates", "labels")
Read = tuple[Articles, Impressions]


def kept(files: Sequence[Path], said: Any, read: Callable[[], Read]) -> Read:
    """What `read` gives: from the cache where these files were read in this way before, else kept there.

    Args:
        files: all that `read` reads, or looks for.
        said: all else that its result depends on, as JSON takes it.
        read: makes the tables, without `tokens` and `further` of articles.

    Raises:
        Whatever `read` raises.
    """
    before = _status(files)
    if sum(one[0] for one in before if one) < LEAST:
        return read()
    try:
        key = _hash("key", said, [str(path) for path in files], _code(), *map(_content, files))
    except OSError:
        return read()  # which says what is wrong with the file
    path = cache_folder() / "tables" / f"{_hash('name', said, [os.path.abspath(file) for file in files])}.tables"
    held = _held(path, key)
    if held is not None:
        tables, told = held
        for one in told:
            warnings.warn(one, RecTrakWarning, stacklevel=2)
        return tables
    with _warnings_met() as met:
        tables = read()
    plain = all(one.category is RecTrakWarning for one in met)
    if not (plain and not tables[0].tokens and before == _status(files)):
        return tables
    if not _keep(path, key, tables, [str(one.message) for one in met]):
        return tables
    del tables  # from the file they take less memory, and that the first time as any other
    held = _held(path, key)
    return read() if held is None else held[0]


def _status(files: Sequence[Path]) -> list[tuple[int, int, int] | None]:
    """Size, time of change and number of each file, None where there is none: equal, if none was written between."""
    found = []
    for path in files:
        try:
            one = os.stat(path)
            found.append((one.st_size, one.st_mtime_ns, one.st_ino))
        except OSError:
            found.append(None)
    return found


def _content(path: Path) -> str:
    """The hash of a file's bytes; '' where there is none.

    Raises:
        OSError: it cannot be read.
    """
    if not os.path.isfile(path):
        return ""
    with open(path, "rb", buffering=0) as file:
        found = hashlib.blake2b(digest_size=DIGEST)
        while part := file.read(AT_ONCE):
            found.update(part)
    return found.hexdigest()


@cache
def _code() -> str:
    """The hash of the readers' own code and of what they run on: another version may read a log otherwise."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    versions = [platform.python_version(), *(version(name) for name in ("rec-trak", "numpy", "pandas"))]
    return _hash(versions, [_content(path) for path in sources])


def _hash(*parts: Any) -> str:
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=DIGEST).hexdigest()


@contextmanager
def _warnings_met() -> Iterator[list[warnings.WarningMessage]]:
    """The warnings given inside; they go on to whoever listens when it ends, also by an error."""
    met: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as met:
            warnings.simplefilter("always")
            yield met
    finally:
        for one in met:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _held(path: Path, key: str) -> tuple[Read, list[str]] | None:
    """The tables in the cache, and the warnings of reading them; None where there are none, or those of other files.

    What is damaged, or not ours, is warned of.
    """
    try:
        file = open_cached(path)
        if file is None:
            return None
        with file:
            content = _opened(file, key)
            if content is None:
                return None
        header, arrays, mapped = content
        tables = _articles(header, arrays), _impressions(header, arrays)
        _check(*tables)
        told = [str(one) for one in header["warnings"]]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        warnings.warn(
            f"{path}: not the tables of this click log. Got {reason(error)}, expected a file that this command made of "
            "it. They are made again; let nobody else write to that folder.",
            RecTrakWarning,
            stacklevel=3,
        )
        return None
    if hasattr(mmap, "MADV_DONTNEED"):  # all of it was looked at: what nobody asks for again is not to count as used
        mapped.madvise(mmap.MADV_DONTNEED)
    return tables, told


def _opened(file: BinaryIO, key: str) -> tuple[dict[str, Any], dict[str, np.ndarray], mmap.mmap] | None:
    """The header and the arrays of an open file of the cache, and their map; None where it is whole and of another key.

    Raises:
        ValueError: it is anything else than what `_keep` writes.
    """
    start, size = len(MAGIC) + HEAD, os.fstat(file.fileno()).st_size
    if size < start + DIGEST:
        raise ValueError("a file that is too short")
    map_of_all = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    mapped = memoryview(map_of_all)
    if mapped[: len(MAGIC)] != MAGIC:
        raise ValueError("a file of another kind")
    if hashlib.blake2b(mapped[:-DIGEST], digest_size=DIGEST).digest() != mapped[-DIGEST:]:
        raise ValueError("other bytes than were written")
    length = int.from_bytes(mapped[len(MAGIC) : start], "little")
    header = load_json(bytes(mapped[start : start + length]))
    if header["key"] != key:
        return None
    arrays = {}
    for name, (dtype, shape, at) in header["arrays"].items():
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(mapped, dtype=np.dtype(dtype), count=count, offset=at).reshape(shape)
    return header, arrays, map_of_all


def _articles(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Articles:
    columns = [tuple(_texts(arrays, f"articles.{name}")) for name in TABLE]
    said = {key: header["articles"][key] for key in ("source", "blanks", "translated")}
    return Articles(*columns, is_fake=arrays["articles.is_fake"].copy(), **said)


def _impressions(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Impressions:
    users = np.array([*_texts(arrays, "users"), None], dtype=object)[:-1]  # None: of one name, too, an array of it
    return Impressions(
        user_ids=users[arrays["user"]],
        **{name: Ragged(arrays[f"{name}.values"], arrays[f"{name}.offsets"]) for name in LISTS},
        is_fake=arrays["is_fake"].copy(),
        sources=_texts(arrays, "sources"),
        columns={name: _texts(arrays, f"column.{i}") for i, name in enumerate(header["columns"])},
        notes=tuple(header["notes"]),
        origin=arrays.get("origin"),
    )


def _texts(arrays: dict[str, np.ndarray], name: str) -> Texts:
    return Texts(arrays[f"{name}.data"], arrays[f"{name}.offsets"])


def _check(articles: Articles, rows: Impressions) -> None:
    """Refuse tables that do not fit each other, which no hash can say of a file that somebody else made.

    Raises:
        ValueError: they do not.
    """
    lengths = {len(getattr(articles, name)) for name in TABLE} | {len(articles.is_fake)}
    of_rows = [rows.is_fake, rows.sources, *rows.columns.values(), *(getattr(rows, name) for name in LISTS)]
    of_rows += [] if rows.origin is None else [rows.origin]
    fits = len(lengths) == 1 and all(len(one) == len(rows) for one in of_rows)
    for table in (rows.history, rows.candidates):
        if len(table.values):
            fits = fits and table.values.min() >= 0 and table.values.max() < len(articles)
    for table in (rows.history, rows.candidates, rows.labels, rows.sources, *rows.columns.values()):
        held = table.data if isinstance(table, Texts) else table.values
        bounds = table.offsets
        fits = fits and bounds[0] == 0 and bounds[-1] == len(held) and bool((np.diff(bounds) >= 0).all())
    if not fits:
        raise ValueError("tables that do not fit each other")


def _keep(path: Path, key: str, tables: Read, told: list[str]) -> bool:
    """Write the tables so that `path` holds all of them or what it held before, and whether it does; a cache that
    cannot be written is warned of."""
    articles, rows = tables
    arrays = _arrays(articles, rows)
    header: dict[str, Any] = {"key": key, "warnings": told, "notes": list(rows.notes), "columns": list(rows.columns)}
    header["articles"] = {"source": articles.source, "blanks": articles.blanks, "translated": articles.translated}
    header["arrays"] = {name: [array.dtype.str, list(array.shape), 10**15] for name, array in arrays.items()}
    at = _aligned(len(MAGIC) + HEAD + len(json.dumps(header)))  # no number below is longer than that one
    for name, array in arrays.items():
        header["arrays"][name][2] = at
        at = _aligned(at + array.nbytes)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            _write(file, json.dumps(header).encode(), {header["arrays"][name][2]: a for name, a in arrays.items()})
    except OSError as error:
        warnings.warn(
            f"{path.parent}: the click log as read is not kept for the next run ({error.strerror}). Set REC_TRAK_CACHE "
            "to a folder that can be written.",
            RecTrakWarning,
            stacklevel=3,
        )
        return False
    return True


def _arrays(articles: Articles, rows: Impressions) -> dict[str, np.ndarray]:
    names, user = np.unique(rows.user_ids.astype(object), return_inverse=True)
    texts = {f"articles.{name}": getattr(articles, name) for name in TABLE}
    texts |= {"users": names.tolist(), "sources": rows.sources}
    texts |= {f"column.{i}": column for i, column in enumerate(rows.columns.values())}
    arrays = {"articles.is_fake": articles.is_fake, "user": user.astype(np.int32), "is_fake": rows.is_fake}
    arrays |= {f"{name}.{part}": getattr(getattr(rows, name), part) for name in LISTS for part in ("values", "offsets")}
    arrays |= {} if rows.origin is None else {"origin": rows.origin}
    for name, strings in texts.items():
        made = Texts.of(strings)
        arrays |= {f"{name}.data": made.data, f"{name}.offsets": made.offsets}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _write(file: BinaryIO, header: bytes, arrays: dict[int, np.ndarray]) -> None:
    """Header, arrays at their places, and the hash of all before it."""
    found, at = hashlib.blake2b(digest_size=DIGEST), 0
    parts = [(0, MAGIC + len(header).to_bytes(HEAD, "little") + header), *arrays.items()]
    for start, part in parts:
        content = part if isinstance(part, bytes) else part.reshape(-1).view(np.uint8).data
        for one in (bytes(start - at), content):
            found.update(one)
            file.write(one)
        at = start + len(content)
    file.write(found.digest())


def _aligned(at: int) -> int:
    return -(-at // ALIGNED) * ALIGNED
