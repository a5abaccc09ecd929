"""A pandas table that says its title and units, in a notebook too. Not here: which tables a run has."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd

from rec_trak.words import harmless

MARGIN = "margin units"
UNITS = {
    "rank": "place among all rows, 1 the highest",
    "row": "number of the training click, from 0 (sample_idx)",
    "renormalised": "no unit, ranks alone",
    "kernel": "no unit",
    "q": "0 to 1, how unsure the model was",
    "leverage": "0 to 1",
    "score": "as the run's form of score",
    "sum": f"{MARGIN}, over the rows of the group",
    "mean": f"{MARGIN} a row",
    "rows": "training clicks",
}
SHOWN = 20  # rows of a table in a notebook


class Table(pd.DataFrame):
    """A pandas table whose `attrs` say its `title` and the `units` of its columns; a notebook shows them."""

    @property
    def _constructor(self) -> type[Table]:
        return Table

    def _repr_html_(self) -> str:
        """HTML with the title above and the units below; text of the data is text."""
        texts = self.head(SHOWN).map(lambda cell: harmless(cell) if isinstance(cell, str) else cell)
        body = pd.DataFrame(texts).to_html(escape=True, max_rows=SHOWN, float_format=lambda x: f"{x:.4g}")
        told = {name: unit for name, unit in self.attrs.get("units", {}).items() if name in self.columns}
        units = "; ".join(f"<i>{escape(name)}</i>: {escape(unit)}" for name, unit in told.items())
        more = f" (the first {SHOWN} of {len(self):,})" if len(self) > SHOWN else ""
        title = self.attrs.get("title", "")
        return f"<p><b>{escape(harmless(title))}</b>{more}</p>{body}<p><small>{units}</small></p>"


def named_table(columns: Any, title: str, units: dict[str, str]) -> Table:
    """Columns as a table of this title, with the units of those columns that it has."""
    table = Table(columns)
    table.attrs = {"title": title, "units": {name: unit for name, unit in units.items() if name in table.columns}}
    return table
