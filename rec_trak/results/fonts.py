"""Installed fonts that draw what matplotlib's own lacks: headlines are in any script. Not here: figures, font files.

A font is looked for only where a text needs it. What no font has is left out, and `LEFT_OUT` stands in the figure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from matplotlib.font_manager import FontEntry, FontProperties, findfont, fontManager, get_font

WIDELY = (  # fonts of many scripts, tried first
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei", "Droid Sans Fallback", "Arial Unicode MS", "PingFang SC", "Hiragino Sans", "Microsoft YaHei",
    "Yu Gothic", "Malgun Gothic", "Noto Sans Devanagari", "Noto Sans Thai", "FreeSans",
)  # fmt: skip
PICTURES = ("emoji", "last resort", "color")  # in names of fonts that are no letters, or cannot be drawn from
MOST = 4  # fonts beside the first
LEFT_OUT = "Letters that no installed font has are left out; rows keep their numbers."
SKIPPED = "CMZ"  # first letters of categories that need no glyph of their own


def families(texts: Iterable[str]) -> list[str]:
    """Font families that together draw the texts, as far as any installed does; matplotlib's own first."""
    own = list(FontProperties().get_family())
    missing = undrawn(texts, own)
    return own if not missing else own + list(_found(missing))


def undrawn(texts: Iterable[str], among: Iterable[str]) -> frozenset[int]:
    """Code points of the texts that none of these font families has."""
    letters = {ord(c) for text in texts for c in str(text) if unicodedata.category(c)[0] not in SKIPPED}
    return frozenset(letters - glyphs(tuple(among)))


@lru_cache
def glyphs(among: tuple[str, ...]) -> frozenset[int]:
    """Code points that at least one of the font families can draw."""
    return frozenset().union(*(_letters(findfont(FontProperties(family=[family]))) for family in among))


@lru_cache(64)
def _found(missing: frozenset[int]) -> tuple[str, ...]:
    """Names of installed fonts that have what is missing, as few as are met first, MOST at most."""
    files = {font.name: font.fname for font in sorted(fontManager.ttflist, key=_plainness, reverse=True)}
    others = sorted(n for n in files if n not in WIDELY and not any(word in n.lower() for word in PICTURES))
    found: list[str] = []
    for name in [name for name in WIDELY if name in files] + others:
        has = _letters(files[name]) & missing
        if has:
            found.append(name)
            missing -= has
        if not missing or len(found) == MOST:
            break
    return tuple(found)


def _plainness(font: FontEntry) -> tuple[bool, int]:
    """How far a font's file is from the upright, normal one of its family."""
    return font.style != "normal", abs(font.weight - 400) if isinstance(font.weight, int) else 0


@lru_cache(512)
def _letters(file: str) -> frozenset[int]:
    try:
        return frozenset(get_font(file).get_charmap())
    except (OSError, RuntimeError, ValueError):  # a font that matplotlib cannot read draws nothing
        return frozenset()
