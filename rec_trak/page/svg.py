"""A figure -> an SVG element to stand inside a page: same bytes every time, the page's own colours. Not here: drawing.

Colours of the figure become CSS variables of the page, so that one picture serves dark and light; text stays text.
"""

from __future__ import annotations

import io
import re

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from rec_trak.results.panels import ALL_ROWS, COLOURS, LINES

NAMES = {COLOURS[1]: "fake", COLOURS[0]: "real", COLOURS[-1]: "unknown", ALL_ROWS: "muted"}
NAMES |= {colour: f"line{place}" for place, colour in enumerate(LINES) if colour not in NAMES}
NAMES |= {"#000000": "ink", "#ffffff": "paper", "#b0b0b0": "rule", "#cccccc": "rule"}
VARIABLES = {colour.lower(): f"var(--{name}, {colour.lower()})" for colour, name in NAMES.items()}
SETTINGS = {"svg.fonttype": "none", "svg.image_inline": True, "savefig.transparent": True}
NOTHING = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # else time and version stand in the file
STYLES = re.compile(r'style="[^"]*"')
FONTS = re.compile(r"'DejaVu Sans'[^;]*sans-serif")
HATCHED = re.compile(r"(fill: url\(#h\w+\)); fill-opacity: ([\d.]+)")
GROUND = re.compile(r'(<pattern .*?<rect [^>]*?)fill="(#[0-9a-fA-F]{6})"', re.DOTALL)
IDS = re.compile(r'\sid="([^"]*)"')


def as_svg(figure: Figure, name: str, description: str) -> Markup:
    """The figure as one `<svg>` element.

    Args:
        figure: left as it is.
        name: unlike the other figures' on the page; what the figure refers to by a hidden name is named from it.
        description: what a reader who sees no pictures is told.
    """
    file = io.StringIO()
    with matplotlib.rc_context(SETTINGS | {"svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata=NOTHING, transparent=True, dpi=200)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)  # it would hold for the whole page
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = _hatches_seen(text)
    text = STYLES.sub(_coloured, text)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    text = IDS.sub(lambda found: found[0] if found[1] in used else "", text)
    head, body = text.split(">", 1)
    size = re.search(r'viewBox="0 0 ([\d.]+) ', head)
    head = re.sub(r'\s(?:width|height|version)="[^"]*"', "", head)
    about = f'role="img" aria-label="{escape(description)}" style="max-width:{1.5 * float(size[1]):.0f}px"'
    return Markup(f"{head} {about}>{body.strip()}")


def _hatches_seen(text: str) -> str:
    """Opacity moved from hatched areas to the ground of their hatches, which would else hide the lines."""
    found = HATCHED.search(text)
    if found is None:
        return text
    return GROUND.sub(rf'\1style="fill: \2; fill-opacity: {found[2]}"', HATCHED.sub(r"\1", text))


def _coloured(found: re.Match) -> str:
    """A style with the page's colours in place of the figure's, and the page's font."""
    style = FONTS.sub("sans-serif", found[0])
    return re.sub(r"#[0-9a-fA-F]{6}\b", lambda colour: VARIABLES.get(colour[0].lower(), colour[0]), style)
