"""Settings in sections, as configuration frameworks write them, as one flat mapping. Not here: what any key means.

Nothing outside of the file is looked up: a reference to another key of it, `${paths.data_dir}`, is put in, and what
only the framework could fill in, as `${oc.env:HOME}`, is refused by name where its key is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from rec_trak.errors import ConfigError
from rec_trak.words import QUOTE, plain, quoted

OPEN = "${"
KEY = re.compile(r"[\w-]+(\.[\w-]+)*")
LONGEST, DEEPEST = 10_000, 50  # characters of a text, and references behind each other
UNSET = "???"


def has_sections(mapping: Mapping[str, Any]) -> bool:
    """Whether any value is a mapping itself."""
    return any(isinstance(value, dict) for value in mapping.values())


def flat(mapping: Mapping[str, Any], keys: Iterable[str], where: str, expected: Iterable[str] = ()) -> dict[str, Any]:
    """The values of `keys` that stand at the top or in a section, references put in; other keys are left unread.

    A value that is null in one place is that of another place, if there is one.

    Args:
        mapping: what a settings file says.
        keys: those that are wanted.
        where: the file, for messages.
        expected: sections whose values, like those at the top, go before those of other sections.

    Raises:
        SectionsError: a key that stands twice with different values; a value that refers to itself, to nothing in the
            file or to something outside of it, or that is still to be set (`???`); one message names them all.
    """
    references, out, problems = _References(mapping), {}, []
    for key in keys:
        places = {key: mapping[key]} if key in mapping and not isinstance(mapping[key], dict) else {}
        inside = {n: s for n, s in mapping.items() if isinstance(s, dict) and not isinstance(s.get(key, {}), dict)}
        first = {f"{name}.{key}": inside[name][key] for name in expected if name in inside}
        found = places | first or {f"{name}.{key}": section[key] for name, section in inside.items()}
        try:
            values = {place: references.put_in(value, place, ()) for place, value in found.items()}
        except _Unresolved as error:
            problems.append(str(error))
            continue
        values = {place: value for place, value in values.items() if value is not None} or values
        different = {place: value for place, value in values.items() if value != next(iter(values.values()))}
        if different:
            shown = dict([next(iter(values.items())), *different.items()][:3])
            told = [f"`{place}` {quoted(value, 60)}" for place, value in shown.items()]
            problems.append(f"{' and '.join(told)}; keep one")
        elif values:
            out[key] = next(iter(values.values()))
    if problems:
        raise SectionsError(where, problems)
    return out


class SectionsError(ConfigError):
    """Settings whose values cannot be told; `problems` says of which, and why."""

    def __init__(self, where: str, problems: list[str]) -> None:
        super().__init__(f"{where}: the settings cannot be told. Got {'; '.join(problems)}.")
        self.problems = problems


class _Unresolved(ValueError):
    """What is wrong with a reference, for a message."""


class _References:
    """The values that dotted names stand for, each resolved once."""

    def __init__(self, mapping: Mapping[str, Any]) -> None:
        self.mapping = mapping
        self.held: dict[str, Any] = {}

    def put_in(self, value: Any, place: str, above: tuple[str, ...]) -> Any:
        """The value with what it refers to; `above` are the names that led here."""
        if isinstance(value, list):
            return [self.put_in(part, place, above) for part in value]
        if not isinstance(value, str):
            return value
        if value == UNSET:
            raise _Unresolved(f"`{plain(place, QUOTE)}` {UNSET}, which is still to be set; write its value")
        parts, rest = [], value
        while OPEN in rest:
            before, name, rest = _cut(rest, place)
            parts += [before, self._value(name, place, above)]
        parts = [part for part in (*parts, rest) if part != ""]
        if len(parts) == 1:
            return parts[0]
        if any(isinstance(part, list | dict) for part in parts):
            raise _Unresolved(f"`{plain(place, QUOTE)}` {quoted(value, 60)}, which puts a list into text; write it out")
        text = "".join(map(str, parts))
        if len(text) > LONGEST:
            raise _Unresolved(f"`{plain(place, QUOTE)}`, a text of more than {LONGEST:,} characters; write it out")
        return text

    def _value(self, name: str, place: str, above: tuple[str, ...]) -> Any:
        told = f"`{plain(place, QUOTE)}` with `{OPEN}{plain(name, QUOTE)}}}`"
        if not KEY.fullmatch(name):
            raise _Unresolved(f"{told}, which only the program that ran it fills in; write the value in its place")
        if name in above or len(above) > DEEPEST:
            raise _Unresolved(f"{told}, which leads back to itself; write the value in its place")
        if name not in self.held:
            value: Any = self.mapping
            for part in name.split("."):
                if not isinstance(value, dict) or part not in value:
                    raise _Unresolved(f"{told}, which names nothing in the file; write the value in its place")
                value = value[part]
            if isinstance(value, dict):
                raise _Unresolved(f"{told}, which names a section; write the value in its place")
            self.held[name] = self.put_in(value, name, (*above, name))
        return self.held[name]


def _cut(text: str, place: str) -> tuple[str, str, str]:
    """What stands before the first reference, its name, and what stands behind it."""
    before, _, rest = text.partition(OPEN)
    depth = 1
    for i, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return before, rest[:i], rest[i + 1 :]
    raise _Unresolved(f"`{plain(place, QUOTE)}` {quoted(text, 60)}, whose brace is not closed; write the value")
