"""Files changed a little, as damage, other programs and mistakes change them. Not here: reading them."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

NUMBER = re.compile(rb"-?\d+(\.\d+)?(e[+-]?\d+)?")
WORD = re.compile(rb'"[^"\n]*"|\'[^\'\n]*\'|[A-Za-z_][\w.]*|-?\d[\d.]*')
NUMBERS = (
    *(b"0", b"-1", b"1e999", b"-1e999", b"NaN", b"nan", b"Infinity", b"0.5", b"1_000", b"0x10", b"1e-400", b"00012"),
    *(b"9" * 30, b"2147483648", b"9223372036854775808", b"-9223372036854775809", b"1000000000", b"99999", b"\xd9\xa3"),
)
OTHERS = (
    *(
        b"null",
        b"None",
        b"true",
        b"[]",
        b"{}",
        b"[1]",
        b'{"a": 1}',
        b'""',
        b'"x"',
        b"''",
        b"~",
        b"- ",
        b": ",
        b"!!int x",
    ),
    *(
        b"\x00",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\t",
        b'"',
        b"'",
        b"\\",
        b"\xe2\x80\xa8",
        b"\\ud800",
    ),
)
VALUES = (
    *(None, True, 0, -1, 0.5, 1e308, float("inf"), float("nan"), 2**31, 2**63, 10**30, 10**400, "", "x", "1", "nan"),
    *([], [[]], {}, {"": None}, [None], "\x00", "\ud800", "../..", "/", "x" * 5000, [0] * 2000),
)
WIDTHS = (1, 2, 4, 8)  # bytes of numbers in binary files


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with one change, or two or three."""
    for _ in range(int(rng.choice((1, 1, 2, 3)))):
        change = CHANGES[int(rng.integers(len(CHANGES)))]
        content = change(content, rng) if content else bytes(rng.bytes(3))
    return content


def mutated_zip(content: bytes, rng: np.random.Generator) -> bytes:
    """An archive of which one member is changed, with check sums that are right; names and directory stay."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(made, "w") as changed:
        members = archive.infolist()
        small = [one for one in members if one.filename.endswith((".pkl", ".json"))]
        chosen = (small or members)[int(rng.integers(len(small or members)))]
        if rng.random() < 0.3:
            chosen = members[int(rng.integers(len(members)))]
        for member in members:
            data = archive.read(member)
            changed.writestr(member, mutated(data, rng) if member is chosen else data)
    return made.getvalue()


def _place(content: bytes, rng: np.random.Generator) -> int:
    return int(rng.integers(len(content)))


def _span(content: bytes, rng: np.random.Generator) -> slice:
    start = _place(content, rng)
    return slice(start, start + int(rng.integers(1, max(2, min(200, len(content) // 2)))))


def _flipped(content: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        changed[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: _place(content, rng)]


def _removed(content: bytes, rng: np.random.Generator) -> bytes:
    span = _span(content, rng)
    return content[: span.start] + content[span.stop :]


def _doubled(content: bytes, rng: np.random.Generator) -> bytes:
    span, place = _span(content, rng), _place(content, rng)
    times = 2 ** int(rng.integers(0, 9))
    return content[:place] + content[span] * times + content[place:]


def _swapped(content: bytes, rng: np.random.Generator) -> bytes:
    one, two = sorted((_span(content, rng), _span(content, rng)), key=lambda span: span.start)
    if one.stop > two.start:
        return content[two] + content
    parts = (content[: one.start], content[two], content[one.stop : two.start], content[one], content[two.stop :])
    return b"".join(parts)


def _put(content: bytes, rng: np.random.Generator) -> bytes:
    place = _place(content, rng)
    return content[:place] + OTHERS[int(rng.integers(len(OTHERS)))] + content[place:]


def _word_for_another(content: bytes, rng: np.random.Generator) -> bytes:
    pattern, others = ((NUMBER, NUMBERS), (WORD, OTHERS + NUMBERS))[int(rng.integers(2))]
    start = _place(content, rng)
    found = pattern.search(content, start) or pattern.search(content)
    if found is None:
        return _flipped(content, rng)
    return content[: found.start()] + others[int(rng.integers(len(others)))] + content[found.end() :]


def _node(content: bytes, rng: np.random.Generator) -> bytes:
    """JSON in which one value, at any depth, is another one, is gone or stands for its whole; else a cell."""
    try:
        held = [json.loads(content)]
    except (ValueError, RecursionError):
        return _cell(content, rng)
    places = list(_places(held))
    whole, key = places[int(rng.integers(len(places)))]
    how = int(rng.integers(4))
    if how == 0:
        del whole[key]
    elif how == 1:
        other, there = places[int(rng.integers(len(places)))]
        whole[key] = json.loads(json.dumps(other[there]))
    elif how == 2 and isinstance(whole[key], list | dict):
        whole[key] = list(whole[key])[:1] * int(rng.integers(3))
    else:
        whole[key] = VALUES[int(rng.integers(len(VALUES)))]
    return json.dumps(held[0] if held else None, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _places(whole: Any) -> Iterator[tuple[Any, Any]]:
    """Every list or mapping in a document with every key it has."""
    for key in list(range(len(whole)) if isinstance(whole, list) else whole):
        yield whole, key
        if isinstance(whole[key], list | dict):
            yield from _places(whole[key])


def _cell(content: bytes, rng: np.random.Generator) -> bytes:
    """A table in which one cell is another one's or a value of another kind, or is gone."""
    comma = b"\t" if b"\t" in content else b","
    lines = content.split(b"\n")
    place = int(rng.integers(len(lines)))
    cells, others = lines[place].split(comma), lines[int(rng.integers(len(lines)))].split(comma)
    column = int(rng.integers(len(cells)))
    told = (*OTHERS, *NUMBERS)
    new = (others[int(rng.integers(len(others)))], told[int(rng.integers(len(told)))])[int(rng.integers(2))]
    cells[column : column + 1] = [new] if rng.random() < 0.8 else []
    return b"\n".join((*lines[:place], comma.join(cells), *lines[place + 1 :]))


def _line_moved(content: bytes, rng: np.random.Generator) -> bytes:
    lines = content.split(b"\n")
    line = lines.pop(int(rng.integers(len(lines))))
    if rng.random() < 0.5:
        lines.insert(int(rng.integers(len(lines) + 1)), line)
    return b"\n".join(lines)


def _extreme(content: bytes, rng: np.random.Generator) -> bytes:
    width = WIDTHS[int(rng.integers(len(WIDTHS)))]
    value = (0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1)[int(rng.integers(5))]
    place = _place(content, rng)
    return content[:place] + value.to_bytes(width, "little") + content[place + width :]


CHANGES = (
    *(_flipped, _cut, _removed, _doubled, _swapped, _put, _line_moved, _extreme),
    *(_word_for_another, _word_for_another, _node, _node),
)
