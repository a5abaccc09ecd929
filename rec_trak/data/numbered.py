"""Names with numbers, as other code bases write them for words, topics and users: tables with tabs, JSON, pickled
dictionaries. Not here: what a number means to a model.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rec_trak.config.documents import load_json
from rec_trak.data.tables import DIGITS, read_csv
from rec_trak.errors import ConfigError, DataError, listed, told
from rec_trak.words import quoted


def read_numbers(path: str | Path, name: str, number: str) -> dict[str, int]:
    """Name -> number, from two columns of a table with tabs.

    Raises:
        DataError: what `read_csv` refuses; a name that stands twice; a number that is not whole or is negative.
    """
    table = read_csv(path, (name, number), delimiter="\t")
    names, numbers = table.column(name), table.column(number)
    for i, text in enumerate(numbers):
        if not (text.isascii() and text.isdigit() and len(text) < DIGITS):
            where = f"{path}, line {table.first[i]}"
            raise DataError(f"{where}: `{number}` is no number. Got {quoted(text)}, expected a whole one, from 0.")
    if len(table.values[name]) < len(names):
        raise DataError(f"{path}: a name in `{name}` stands twice. Got {len(names)} lines, expected different names.")
    return {name: int(number) for name, number in zip(names, numbers, strict=True)}


class _PlainUnpickler(pickle._Unpickler):
    """Reads numbers, strings and containers of them. Anything else would have to be imported, which is refused.

    It is the one that is written in Python: the other takes as much memory as a damaged file asks for.
    """

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def read_dictionary(path: str | Path) -> dict[str, int]:
    """Name -> number, from a pickled dictionary or the same as JSON. Nothing in the file is run.

    Raises:
        DataError: no such file, or anything else is in it.
    """
    path = Path(path)
    advice = "Give a pickled dictionary, or the same as .json."
    try:
        document = path.read_bytes()
        content = load_json(document) if path.suffix == ".json" else _PlainUnpickler(io.BytesIO(document)).load()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file. {advice}") from None
    except Exception as error:  # a damaged or foreign pickle makes the unpickler raise almost anything
        raise DataError(
            f"{path}: cannot be read as a dictionary of names and numbers ({told(error)}). {advice}"
        ) from None
    pairs = content.items() if isinstance(content, dict) else [(None, None)]
    if not all(type(name) is str and type(number) is int and number >= 0 for name, number in pairs):
        raise DataError(
            f"{path}: not a dictionary of names and numbers. Got {type(content).__name__} of something else, expected "
            f"text and whole numbers from 0. {advice}"
        )
    return content


def named_rows(numbers: Mapping[str, int], rows: int, source: str | Path) -> tuple[str, ...]:
    """The names of an embedding's rows 1 to `rows` - 1.

    A name with number 0 is left out, so that it has row 0 as one that is not known; a row that no name has gets one
    that no data have.

    Raises:
        ConfigError: a name has a number beyond the rows, or another name's.
    """
    advice = "Give the file that the checkpoint was trained with."
    beyond = [name for name, number in numbers.items() if number >= rows]
    if beyond:
        raise ConfigError(
            f"{source}: more names than the checkpoint has rows. Got {listed('beyond', beyond)}, expected numbers "
            f"below {rows}. {advice}"
        )
    by_number = {number: name for name, number in numbers.items() if number}
    named = sum(number > 0 for number in numbers.values())
    if len(by_number) < named:
        raise ConfigError(
            f"{source}: two names have one number. Got {len(by_number)} numbers of {named} names, expected as many. "
            f"{advice}"
        )
    return tuple(by_number.get(i, f"(row {i})") for i in range(1, rows))
