"""The content of a metadata.json, held against what it may say before anyone uses it. Not here: what that means.

Whatever is there is of its kind; what earlier builds did not say may be absent, or null.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rec_trak.errors import DataError
from rec_trak.words import quoted

LARGEST = 2**63  # of a whole number; larger ones cannot be divided
OPTIONAL = "?"  # ends a key that may be absent or null where the mapping around it is there
WORDS = {str: "a text", int: "a whole number", float: "a number", dict: "keys and values", list: "a list"}
MODEL = {
    "architecture?": str,
    "views?": [str],
    "text?": {"tokeniser?": str},
    "max_history?": int,
    "history_truncation?": str,
}
SOLVED = ("ridge?", "effective_dimension?", "condition_number?", "max_leverage?")
MEMBER = {"checkpoint?": str, "digest?": str, "code_base?": str, **dict.fromkeys(SOLVED, float)}
CONTENT = {
    **dict.fromkeys(("dataset_type?", "model_type?", "command?", "score_name?", "date?", "scoring?"), str),
    **dict.fromkeys(("targets_file?", "targets_digest?", "save_dir?"), str),
    **dict.fromkeys(("config?", "features?", "rows?", "reading?", "versions?", "targets_definition?"), dict),
    "notes?": [str],
    "targets_notes?": [str],
    **dict.fromkeys(("proj_dim?", "parameters?"), int),
    "model?": MODEL,
    "members?": [MEMBER],
    "proof?": [{"auc?": float, "stated?": float}],
    "coverage?": {"": {"known": int, "shown": int}},  # of any key
    "score?": {"form?": str, "target_count?": int},
}


def check_metadata(content: Any, where: str, again: str) -> dict[str, Any]:
    """The content itself.

    Args:
        content: of the JSON.
        where: the file, for messages.
        again: what to do, for messages.

    Raises:
        DataError: names the first part that is of another kind than what score.py writes.
    """
    if not isinstance(content, dict):
        raise DataError(f"{where}: no keys and values. Got {type(content).__name__}. {again}")
    for name, value, wanted in _wrong(content, CONTENT, ""):
        raise DataError(f"{where}: `{name}` is damaged. Got {quoted(value)}, expected {wanted}. {again}")
    return content


def _wrong(value: Any, form: Any, name: str) -> Iterator[tuple[str, Any, str]]:
    """Each part that is not of its form: its name, what it is, what it should be in words."""
    kind = form if isinstance(form, type) else type(form)
    if not _is(value, kind):
        yield name, value, WORDS[kind]
    elif isinstance(form, list):
        for i, one in enumerate(value):
            if not (one is None and isinstance(form[0], dict)):  # nothing is known of this one
                yield from _wrong(one, form[0], f"{name}[{i}]")
    elif isinstance(form, dict):
        for key, inner in (dict.fromkeys(value, form[""]) if "" in form else form).items():
            held = value.get(key.removesuffix(OPTIONAL))
            if held is not None or not key.endswith(OPTIONAL):
                yield from _wrong(held, inner, f"{name}.{key.removesuffix(OPTIONAL)}".lstrip("."))


def _is(value: Any, kind: type) -> bool:
    """Whether a value of JSON is of a kind: true and false are no numbers, and a whole number is a number."""
    if kind in (int, float):
        return type(value) in (int, kind) and (isinstance(value, float) or abs(value) < LARGEST)
    return isinstance(value, kind)
