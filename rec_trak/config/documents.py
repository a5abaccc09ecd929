"""YAML and JSON as plain values: text, numbers, true, false, null, lists, mappings. Not here: what any of them means.

Whatever a strange file does to the libraries that read it (aliases that blow up, numbers of thousands of digits,
nesting thousands deep) is one `DocumentError` with the line where it is known; the caller adds the file and what to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import yaml

from rec_trak.words import QUOTE, plain, quoted

DEEPEST = 100  # lists and mappings inside each other
DIGITS = 100  # of a whole number
REPEATED = 100_000  # values that aliases may add to those that are written
MERGE, DATE = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:timestamp"
PLAIN = {None, *(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map"))}
TOO_DEEP = f"nested more than {DEEPEST} deep"
TOO_LONG = f"a number of more than {DIGITS} digits"


class DocumentError(ValueError):
    """What is wrong with a document, in one line without a full stop."""


class NotTextError(DocumentError):
    """It is not UTF-8, so that nothing can be said of what it holds."""


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DocumentError: see `load_json`.
        OSError: it cannot be opened.
    """
    return load_json(path.read_bytes())


def load_json(document: bytes | str) -> Any:
    """The value that a JSON document holds; NaN and infinities, which Python writes, are numbers.

    Raises:
        NotTextError: not UTF-8.
        DocumentError: not JSON, a key twice, a number of more than DIGITS digits, nested more than DEEPEST
            deep, half a surrogate pair.
    """
    text = _decoded(document)

    def whole(digits: str) -> int:
        if len(digits) > DIGITS:
            raise DocumentError(f"line {_line(text, text.find(digits))}: {TOO_LONG}")
        return int(digits)

    try:
        content = json.loads(text, parse_int=whole, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise DocumentError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise DocumentError(TOO_DEEP) from None
    _check(content, escapes="\\u" in text)
    return content


def load_yaml(document: bytes | str) -> Any:
    """The value that a YAML document holds, anchors, aliases and merge keys as `yaml.safe_load` reads them.

    A date is text, as it is written.

    Raises:
        NotTextError: not UTF-8.
        DocumentError: not YAML, a key twice, a number of more than DIGITS digits, nested more than DEEPEST
            deep, aliases that stand for more than REPEATED values or for themselves, half a surrogate pair.
    """
    text = _decoded(document)
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        problem = ", ".join(filter(None, (error.context, error.problem)))
        if error.problem and r"'\t'" in error.problem:
            problem = "a tab indents it, which YAML does not allow: put blanks there"
        raise _at(error.problem_mark or error.context_mark, _line_of_words(problem)) from None
    except yaml.reader.ReaderError as error:
        raise DocumentError(
            f"line {_line(text, error.position)}: holds the character U+{error.character:04X}, which YAML allows "
            "only as an escape in quotes"
        ) from None
    _check(content, escapes="\\u" in text.lower())
    return content


def _decoded(document: bytes | str) -> str:
    if isinstance(document, str):
        return document
    try:
        return document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if document[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise NotTextError("it is UTF-16, or no text") from None
        line = document.count(b"\n", 0, error.start) + 1
        raise NotTextError(f"line {line}: not UTF-8") from None


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _line_of_words(text: str) -> str:
    return plain(" ".join(text.split()), QUOTE).rstrip(".")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The mapping of the pairs, each key once."""
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        key = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise DocumentError(f"key `{plain(key, QUOTE)}` stands twice; keep one")
    return made


def _check(content: Any, escapes: bool) -> None:
    """Refuse what is nested too deeply, and where there are escapes, text that no file can hold.

    Raises:
        DocumentError: names the first of either.
    """
    level = [content]
    for _ in range(DEEPEST + 1):
        if escapes:
            _check_texts(level)
        level = [inner for one in level if isinstance(one, list | dict) for inner in _parts(one)]
        if not level:
            return
    raise DocumentError(TOO_DEEP)


def _parts(one: list | dict) -> Iterator[Any]:
    yield from one
    if isinstance(one, dict):
        yield from one.values()


def _check_texts(values: list[Any]) -> None:
    for text in values:
        if isinstance(text, str):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise DocumentError(f"half of a surrogate pair in {quoted(text)}, which is no character") from None


def _at(mark: yaml.Mark | None, problem: str) -> DocumentError:
    place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
    return DocumentError(f"{place}{problem}")


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a repeated key, which YAML leaves to the last one silently, and what has no bounds."""

    yaml_constructors: ClassVar = {tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag in PLAIN}
    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != DATE]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.depth > DEEPEST:
            raise _at(self.peek_event().start_mark, TOO_DEEP)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        """The document's tree, before anything is made of it: a merge key copies, so that it can blow up too."""
        node = super().get_single_node()
        measured: dict[int, tuple[int, int] | None] = {}
        if node is not None and self._measure(node, measured)[0] - len(measured) > REPEATED:
            raise DocumentError(f"aliases repeat more than {REPEATED:,} values; write out what they stand for")
        return node

    def _measure(self, node: yaml.Node, measured: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
        """How many nodes there are below this one with its aliases written out, itself included, and how deep."""
        if id(node) in measured:
            held = measured[id(node)]
            if held is None:
                raise _at(node.start_mark, "an alias stands inside of what it stands for")
            return held
        measured[id(node)] = None
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        sizes = [self._measure(part, measured) for part in parts]
        count, depth = 1 + sum(size for size, _ in sizes), 1 + max((deep for _, deep in sizes), default=-1)
        if depth > DEEPEST:
            raise _at(node.start_mark, f"{TOO_DEEP} by aliases")
        measured[id(node)] = count, depth
        return count, depth

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != MERGE:
                key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
                if key in seen:
                    told = plain(str(key), QUOTE)
                    raise DocumentError(f"key `{told}` stands twice, in lines {seen[key]} and {line}; keep one")
                seen[key] = line

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except DocumentError:
            raise
        except (ValueError, LookupError, ArithmeticError, AttributeError, TypeError):
            # what its constructors raise of a value that a tag (`!!int x`) or its digits make no such thing
            number = node.tag.endswith((":int", ":float")) and len(node.value) > DIGITS
            what = TOO_LONG if number else f"{quoted(node.value)} is not what its tag says"
            raise _at(node.start_mark, what) from None
        if isinstance(value, int) and abs(value) >= 10**DIGITS:
            raise _at(node.start_mark, TOO_LONG)
        return value
