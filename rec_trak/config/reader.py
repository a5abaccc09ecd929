"""Strict reading of one mapping into one frozen dataclass. Not here: what any key means."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rec_trak.errors import ConfigError

T = TypeVar("T")
FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


class _RepeatedKey(ConfigError):
    """Raised inside the YAML loader, which cannot go on after it."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a repeated key, which YAML leaves to the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, (str, int, float, bool)) and key in seen:
                raise _RepeatedKey(f"key `{key}` stands twice, in lines {seen[key]} and {line}. Keep one.")
            if isinstance(key, (str, int, float, bool)):
                seen[key] = line
        return super().construct_mapping(node, deep)


def read_mapping(path: str | Path) -> dict[str, Any]:
    """The top-level mapping of a YAML or JSON file.

    Raises:
        ConfigError: the file is missing, is not valid YAML or JSON, repeats a key, or is not a mapping.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Give the path of a YAML or JSON file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}). Give the path of a YAML or JSON file.") from None
    try:
        content = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=_Loader)
    except _RepeatedKey as error:
        raise ConfigError(f"{path}: {error}") from None
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{path}: not valid {path.suffix.lstrip('.') or 'YAML'}. {problem}.") from None
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ConfigError(f"{path}: the file must hold keys and values. Got {kind}, expected a mapping.")
    return content


def build(cls: type[T], mapping: dict[str, Any], where: str, ignored: frozenset[str] = frozenset()) -> T:
    """An instance of the dataclass `cls` from `mapping`, every value checked against the field's type.

    Args:
        cls: a frozen dataclass whose fields are int, float, str, bool, Path-free unions, lists, tuples, dicts of
            these, or further dataclasses (given as mappings). A field may name its allowed values with
            `metadata={"choices": (...)}` and its least value with `metadata={"least": x}`.
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
            close = difflib.get_close_matches(str(key), [*fields, *ignored], n=1)
            problems.append(f"unknown key `{key}`" + (f" (did you mean `{close[0]}`?)" if close else ""))
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in mapping:
            problems.append(f"missing key `{name}`")
    if problems:
        raise ConfigError(f"{where}: " + "; ".join(p.rstrip(".") for p in problems) + ".")
    return cls(**values)


def _coerce(value: Any, hint: Any, metadata: typing.Mapping[str, Any], where: str) -> Any:
    """`value` as the type `hint`, or a ConfigError that shows both."""
    value = _as_type(value, hint, where)
    choices = metadata.get("choices")
    if choices and value is not None and value not in choices:
        raise ConfigError(
            f"{where} is not a known value. Got {value!r}, expected one of {', '.join(map(str, choices))}."
        )
    least = metadata.get("least")
    if least is not None and isinstance(value, (int, float)) and not value >= least:
        raise ConfigError(f"{where} is too small. Got {value!r}, expected at least {least}.")
    return value


def _as_type(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [a for a in arguments if a is not type(None)]
        if isinstance(value, dict):  # keys and values mean the dataclass, whose own error says which key is wrong
            options = [a for a in options if dataclasses.is_dataclass(a)] or options
        for option in options:
            try:
                return _as_type(value, option, where)
            except ConfigError:
                if len(options) == 1:
                    raise
        raise ConfigError(f"{where} has the wrong type. Got {value!r}, expected {_words(hint)}.")
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{where} has the wrong type. Got {value!r}, expected keys and values.")
        return build(hint, value, where)
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} has the wrong type. Got {value!r}, expected a list.")
        return origin(_as_type(item, arguments[0], f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{where} has the wrong type. Got {value!r}, expected keys and values.")
        return {str(k): _as_type(v, arguments[1], f"{where}.{k}") for k, v in value.items()}
    return _as_scalar(value, hint, where)


def _as_scalar(value: Any, hint: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and not isinstance(value, bool):
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str) and FLOAT.fullmatch(value.strip()):  # YAML 1.1 reads 1e-4 as a string
            return float(value)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is str and isinstance(value, str):
        return value
    raise ConfigError(f"{where} has the wrong type. Got {value!r}, expected {_words(hint)}.")


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
