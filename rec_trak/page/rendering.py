"""Content -> HTML: the template, and how it writes numbers, links and code. Not here: any content.

Titles, users and file names come from other people's data: the template escapes them, tables travel as JSON, and a
policy in the page forbids any request.
"""

from __future__ import annotations

import dataclasses
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from rec_trak.page.glossary import place_of
from rec_trak.page.naming import Names
from rec_trak.page.tables import Table
from rec_trak.words import signed

WORD = 24  # characters of a command's word that a line keeps together


def rendered(content: dict[str, Any], template: str = "report.html.j2") -> bytes:
    """The page as UTF-8."""
    return _template(template).render(content).encode(errors="replace")


def embedded(tables: list[Table]) -> Markup:
    """The tables as JSON that can stand in a script element, whatever their texts hold."""
    return in_script({table.name: dataclasses.asdict(table) for table in tables})


def in_script(content: Any) -> Markup:
    """JSON that can stand in a script element."""
    text = json.dumps(content, separators=(",", ":"))
    for sign in "<>&":  # else a title could end the element
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


@lru_cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("rec_trak", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _shown_number,
        "count": lambda value: f"{value:,}",
        "ticks": with_code,
        "signed": lambda value: signed(value).replace("-", "−"),
        "linked": _linked,
        "file": _file,
        "term": place_of,
    }
    return environment.get_template(name)


def _shown_number(value: float) -> str:
    return re.sub("e([+-])0*", r"e\1", f"{value + 0.0:.3g}").replace("-", "−")


def with_code(text: str) -> Markup:
    """The text, escaped, with what stands in backticks as code."""
    return Markup(re.sub("`([^`]+)`", lambda found: f"<code>{_unbroken(found[1])}</code>", str(escape(text))))


def _unbroken(command: str) -> str:
    """Escaped code whose short words no line breaks: a flag in two pieces would be mistyped."""
    return re.sub(rf"(?<![^ ])[^ ]{{1,{WORD}}}(?![^ ])", r"<span>\g<0></span>", command)


def _linked(text: str, kind: str, identity: str, names: Names) -> Markup:
    """A user's or an article's name, escaped, as a link where the page has a section of it."""
    place = names.place(kind, identity)
    inner = Markup("<bdi>{}</bdi>").format(text)
    return Markup('<a href="#{}">{}</a>').format(place, inner) if place else inner


def _file(name: str, beside: Path | bool | None) -> Markup:
    """A file's name, as a link where the page lies beside it: in `beside`, the page's folder, or True to be sure of."""
    inner = Markup("<code>{}</code>").format(name)
    return (
        Markup('<a href="./{}">{}</a>').format(quote(name), inner)
        if beside is True or (beside and (beside / name).is_file())
        else inner
    )
