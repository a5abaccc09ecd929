"""How a click log is to be read: what becomes a row, and what of it was trained on. Not here: reading it."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any

from rec_trak.errors import ConfigError
from rec_trak.words import quoted

TITLES = ("compare", "table", "log")
MISSING_ARTICLES = ("refuse", "drop_place", "drop_row", "blank")
DATA_FORMATS = ("auto", "pairwise", "mind", "parsed", "ebnerd", "adressa", "adressa_newsreclib")
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Reading:
    """The settings of all readers; each takes those that its format has.

    Attributes:
        data_format: one of DATA_FORMATS.
        rows: `as_trained` or `per_click`, see `impressions.read_pairwise`.
        negatives, seed: other candidates drawn for each row where a log holds more (or none), and of that draw.
        titles: where the log and the article table say a title, `compare` refuses a difference; `table` and `log` say
            which of them the model was trained on.
        missing_articles: of articles that the table lacks. `refuse`; `drop_place`, they go from histories and
            candidates, and rows that click one go; `drop_row`, every row with one goes; `blank`, they are articles
            without text.
        least_history: rows with fewer articles in their history were not trained on.
        since, until: ISO dates; rows before `since`, and from `until` on, were not trained on. '' for no bound. In
            Adressa's events, what lies before `since` are the histories.
    """

    data_format: str = "auto"
    rows: str = "as_trained"
    negatives: int = 4
    seed: int = 0
    titles: str = "compare"
    missing_articles: str = "refuse"
    least_history: int = 0
    since: str = ""
    until: str = ""


def reading_of(config: Any, otherwise: dict[str, Any] | None = None) -> Reading:
    """The reading that a configuration asks for: its keys of these names, those that are None from `otherwise`.

    Raises:
        ConfigError: a bound that is no ISO date.
    """
    said = {f.name: getattr(config, f.name) for f in fields(Reading)}
    given = (otherwise or {}) | {key: value for key, value in said.items() if value is not None}
    for key in ("since", "until"):
        if given.get(key) and not ISO_DATE.fullmatch(given[key]):
            raise ConfigError(
                f"`{key}`: no date. Got {quoted(given[key])}, expected one like '2019-11-14', in quotes. Mend it."
            )
    return Reading(**given)


def without_blanks(reading: Reading) -> Reading:
    """The same for further files of a run whose table has its blanks already: what it lacks still goes by its place."""
    return replace(reading, missing_articles="drop_place") if reading.missing_articles == "blank" else reading
