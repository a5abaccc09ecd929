"""Columns of Parquet files as plain Python values, and ids that went through floats. Not here: what a column means."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rec_trak.errors import DataError, told
from rec_trak.words import quoted

INSTALL = "pip install 'rec-trak[parquet]'"
EXACT = {"halffloat": 2**11, "float": 2**24, "double": 2**53}  # Arrow's names; whole numbers up to there are exact
WHOLE = re.compile(r"(-?\d+)\.0*")
WORD = re.compile(r"[^\s\[\],'\"]+")


def read_records(
    path: str | Path, needed: Sequence[str], optional: Sequence[str] = (), what: str = "Parquet"
) -> Iterator[dict[str, Any]]:
    """The records of a Parquet file, one after the other: column name -> value, None where there is none.

    Args:
        path: the file.
        needed, optional: columns to read; those of `optional` that are missing are None throughout.
        what: the file should have been, for messages.

    Raises:
        DataError: pyarrow is not installed; the file is missing, damaged or no Parquet; a needed column is missing;
            a column of floats holds whole numbers that its kind of float cannot tell apart.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise DataError(
            f"{path}: reading Parquet needs a library that is not installed. Got no pyarrow, expected it. {INSTALL}."
        ) from None
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file. Got none, expected {what}. Give the path of an existing file.")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            there = file.schema_arrow
            missing = [f"`{name}`" for name in needed if name not in there.names]
            if missing:
                raise DataError(
                    f"{path}: missing column(s) {', '.join(missing)}. Got {quoted(', '.join(there.names), 300)}, "
                    f"expected {what}. Give that file."
                )
            columns = [name for name in (*needed, *optional) if name in there.names]
            absent = dict.fromkeys(name for name in optional if name not in columns)
            most = {name: EXACT.get(_inner(there.field(name).type)) for name in columns}
            for batch in file.iter_batches(columns=columns):
                for record in batch.to_pylist():
                    for name, bound in most.items():
                        if bound is not None:
                            _check_exact(record[name], bound, path, name)
                    yield record | absent
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # the last two: text, days out of range
        raise DataError(
            f"{path}: cannot be read as Parquet ({told(error)}). Got a damaged file or another format, expected "
            f"{what}. Write it anew."
        ) from None


def _inner(kind: Any) -> str:
    """Arrow's name of a column's type, of the elements where it holds lists."""
    while hasattr(kind, "value_type"):
        kind = kind.value_type
    return str(kind)


def _check_exact(value: Any, bound: int, path: str | Path, name: str) -> None:
    for number in value if isinstance(value, list) else [value]:
        if number is not None and abs(number) >= bound and not math.isinf(number):
            raise DataError(
                f"{path}: ids in `{name}` went through floats that cannot tell them apart. Got {number:.0f}, expected "
                f"numbers below {bound:,}. Write the column as whole numbers (pandas: `astype('Int64')`)."
            )


def identifier(value: Any) -> str | None:
    """An id as text, None where there is none: 9778745, 9778745.0 and '9778745.0' are one id.

    Raises:
        ValueError: it is neither text nor a whole number.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    if isinstance(value, int | float):
        return str(int(value))
    if not isinstance(value, str):
        raise ValueError
    whole = WHOLE.fullmatch(value.strip())
    return whole.group(1) if whole else value.strip() or None


def identifiers(value: Any) -> list[str | None]:
    """The ids of a cell that holds a list, also one that was written as text (`[1, 2]`); none where it is null.

    Raises:
        ValueError: an element is no id.
    """
    if value is None or isinstance(value, float):
        return []
    if isinstance(value, str):
        return [identifier(word) for word in WORD.findall(value)]
    return [identifier(one) for one in value]
