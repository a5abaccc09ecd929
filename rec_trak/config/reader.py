"""Strict reading of one mapping into one frozen dataclass. Not here: what any key means."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from rec_trak.config.documents import DocumentError, NotTextError, load_json, load_yaml
from rec_trak.errors import ConfigError
from rec_trak.words import QUOTE, plain, quoted

T = TypeVar("T")
LARGEST = 2**63 - 1  # what 64 bits hold
FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def read_mapping(path: str | Path) -> dict[str, Any]:
    """The top-level mapping of a YAML or JSON file.

    Raises:
        ConfigError: the file is missing, is not valid YAML or JSON (see `documents`), or is not a mapping.
    """
    path = Path(path)
    kind, load = ("json", load_json) if path.suffix == ".json" else ("yaml", load_yaml)
    try:
        content = load(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Give the path of a YAML or JSON file.") from None
    except OSError as error:
        problem = error.strerror or error
        raise ConfigError(f"{path}: cannot be read ({problem}). Give the path of a YAML or JSON file.") from None
    except NotTextError as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Save the file as UTF-8.") from None
    except DocumentError as error:
        raise ConfigError(f"{path}: not valid {kind}: {error}. Mend the file.") from None
    if not isinstance(content, dict):
        got = type(content).__name__
        raise ConfigError(f"{path}: the file must hold keys and values. Got {got}, expected a mapping.")
    return content


def build(cls: type[T], mapping: dict[str, Any], where: str, ignored: frozenset[str] = frozenset()) -> T:
    """An instance of the dataclass `cls` from `mapping`, every value checked against the field's type.

    Args:
        cls: a frozen dataclass whose fields are int, float, str, bool, Path-free unions, lists, tuples, dicts of
            these, or further dataclasses (given as mappings). A field may name its allowed values with
            `metadata={"choices": (...)}`, its least value with `metadata={"least": x}`, and, if it is a number or one
            of a few words, those with `metadata={"words": (...)}`.
        mapping: what the file said.
        where: the file (and section), for messages.
        ignored: keys that are accepted and left unread.

    Raises:
        ConfigError: one message that names every unknown, missing, mistyped or out-of-range key.
    """
    fields = {f.name: f for f in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    problems, values = [], {}
    for key, value in mapping.items():
        if key in fields:
            try:
                values[key] = _coerce(value, hints[key], fields[key].metadata, f"{where}: `{key}`")
            except ConfigError as error:
                problems.append(str(error).removeprefix(f"{where}: "))
        elif key not in ignored:
            told = plain(str(key), QUOTE)
            close = difflib.get_close_matches(told, [*fields, *ignored], n=1)
            problems.append(f"unknown key `{told}`" + (f" (did you mean `{close[0]}`?)" if close else ""))
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in mapping:
            problems.append(f"missing key `{name}`")
    if problems:
        raise ConfigError(f"{where}: " + "; ".join(p.rstrip(".") for p in problems) + ".")
    return cls(**values)


def _coerce(value: Any, hint: Any, metadata: typing.Mapping[str, Any], where: str) -> Any:
    """`value` as the type `hint`, or a ConfigError that shows both."""
    words = metadata.get("words")
    if words:
        return _number_or_word(value, words, metadata, where)
    value = _as_type(value, hint, where)
    choices = metadata.get("choices")
    if choices and value is not None and value not in choices:
        raise ConfigError(
            f"{where} is not a known value. Got {quoted(value)}, expected one of {', '.join(map(str, choices))}."
        )
    least = metadata.get("least")
    if least is not None and isinstance(value, (int, float)) and not value >= least:
        raise ConfigError(f"{where} is too small. Got {quoted(value)}, expected at least {least}.")
    return value


def _number_or_word(value: Any, words: tuple[str, ...], metadata: typing.Mapping[str, Any], where: str) -> float | str:
    """One of `words` as it is, else a number."""
    if isinstance(value, str) and value in words:
        return value
    try:
        return _coerce(value, float, {key: metadata[key] for key in metadata if key != "words"}, where)
    except ConfigError as error:
        raise ConfigError(f"{str(error).removesuffix('.')} or {' or '.join(words)}.") from None


def _as_type(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [a for a in arguments if a is not type(None)]
        if {str, int} <= set(options) and type(value) is int:  # an id, longer perhaps than a number to compute with
            return value
        if isinstance(value, dict):  # keys and values mean the dataclass, whose own error says which key is wrong
            options = [a for a in options if dataclasses.is_dataclass(a)] or options
        for option in options:
            try:
                return _as_type(value, option, where)
            except ConfigError:
                if len(options) == 1:
                    raise
        raise ConfigError(f"{where} has the wrong type. Got {quoted(value)}, expected {_words(hint)}.")
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} has the wrong type. Got {quoted(value)}, expected keys and values.")
        return build(hint, value, where)
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} has the wrong type. Got {quoted(value)}, expected a list.")
        return origin(_as_type(item, arguments[0], f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} has the wrong type. Got {quoted(value)}, expected keys and values.")
        return _as_mapping(value, arguments[1], where)
    return _as_scalar(value, hint, where)


def _as_mapping(value: dict, hint: Any, where: str) -> dict[str, Any]:
    """With keys that are text; a whole number as a key is the text that it is written as."""
    made: dict[str, Any] = {}
    for key, inner in value.items():
        name = str(key) if type(key) in (str, int) else None
        if name is None or name in made:
            problem = "a key that is not text" if name is None else "a key twice, as a number and as text"
            raise ConfigError(f"{where} has {problem}. Got {quoted(key)}, expected text. Put the keys in quotes.")
        made[name] = _as_type(inner, hint, f"{where}.{plain(name, QUOTE)}")
    return made


def _as_scalar(value: Any, hint: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and not isinstance(value, bool):
        written = isinstance(value, str) and len(value) < QUOTE and FLOAT.fullmatch(value.strip())
        if written or isinstance(value, (int, float)):  # YAML 1.1 reads 1e-4 as a string
            if not math.isfinite(float(value)):
                raise ConfigError(f"{where} is not finite. Got {quoted(value)}, expected a number.")
            return float(value)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > LARGEST:
            raise ConfigError(f"{where} is too large. Got {quoted(value)}, expected at most {LARGEST}.")
        return value
    if hint is str and isinstance(value, str):
        if "\0" in value:
            raise ConfigError(f"{where} holds a NUL character. Got {quoted(value)}, expected text without.")
        return value
    raise ConfigError(f"{where} has the wrong type. Got {quoted(value)}, expected {_words(hint)}.")


def _words(hint: Any) -> str:
    """A type as a user would say it."""
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if dataclasses.is_dataclass(hint):
        return "keys and values"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(_words(a) for a in typing.get_args(hint) if a is not type(None))
    return names.get(
        hint, {list: "a list", tuple: "a list", dict: "keys and values"}.get(typing.get_origin(hint), str(hint))
    )
