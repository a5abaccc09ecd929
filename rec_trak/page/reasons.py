"""Why a listed click has its influence, as far as a run's tables tell: what it has in common with what was asked.

Numbers of parts are attribution/explain.py's. Not here: HTML, any number of an influence.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rec_trak.page.tables import read_csv, shown
from rec_trak.results.files import Results
from rec_trak.runs.aside import own_file
from rec_trak.words import isolated

TITLE = 70  # characters of a headline in a sentence
NAMED = 2  # headlines of a sentence
OUTWEIGHED = "That alone would give it the other sign; the tables do not tell what outweighs it."
NOTHING = "None of the articles explained is among those that it chose or was shown."


@dataclass(frozen=True)
class Asked:
    """What the recommendations that are explained show.

    Attributes:
        count: how many there are.
        explained: article id -> in how many of them it is the one explained.
        beside: article id -> in how many of them it is shown beside that one.
        q: (N,) how unsure the model is of each click, NaN where the run does not tell; None where nobody asks.
        kernel: (N,) how alike each click and the recommendations are to the model; None likewise.
    """

    count: int
    explained: Mapping[str, int]
    beside: Mapping[str, int]
    q: np.ndarray | None = None
    kernel: np.ndarray | None = None


def asked_of(targets: pd.DataFrame | None) -> Asked | None:
    """What the lines of a targets.csv show; None where they do not tell."""
    if targets is None or not {"article_id", "other_candidates"} <= set(targets.columns):
        return None
    beside = Counter(a for line in targets["other_candidates"] for a in set(line.split()))
    return Asked(len(targets), Counter(targets["article_id"]), beside)


def asked_in(results: Results, own: Results) -> Asked | None:
    """The same of a target set, with the Q of self-influence, the run's `own`.

    Raises:
        DataError: its targets.csv is damaged, or cannot be read.
    """
    asked = asked_of(read_csv(own_file(results, "targets.csv")))
    if asked is None:
        return None
    q, kernel = (of.rows.numbers(name) if name in of.rows else None for of, name in ((own, "q"), (results, "kernel")))
    return dataclasses.replace(asked, q=q, kernel=kernel)


def likeness(asked: Asked, number: int) -> list[str]:
    """What the model makes of row `number`, in a sentence, where the run tells its kernel and Q."""
    if asked.kernel is None or asked.q is None or not np.isfinite([asked.kernel[number], asked.q[number]]).all():
        return []
    kernel, q = float(asked.kernel[number]), float(asked.q[number])
    known = asked.kernel[np.isfinite(asked.kernel)]
    share = 100 * float(np.mean(known < kernel if kernel > 0 else known > kernel))
    how = "alike" if kernel > 0 else "opposed"
    left = "much" if q > 2 / 3 else "something" if q > 1 / 3 else "little"
    among = f"{share:.{1 if share > 99 else 0}f} % of all clicks"
    return [
        f"To the model it and the recommendations are more {how} than those are with {among} (kernel), and it left "
        f"{left} to learn (Q)."
    ]


def reasons(
    asked: Asked,
    clicked: str,
    others: Sequence[str],
    read: Sequence[str],
    titles: Mapping[str, tuple[str, str]],
    score: float,
    alike: Sequence[str] = (),
) -> list[str]:
    """What a click shares with the recommendations asked about, a sentence each; what speaks against its sign last.

    Args:
        asked: see above.
        clicked, others, read: the article clicked, the others shown beside it, what the model read before; ids.
        titles: see `rows.known_titles`.
        score: its influence on them.
        alike: `likeness`, which is told where the articles say nothing.
    """
    raises, lowers = [], []
    if clicked in asked.explained:
        raises.append(f"it chose the very article that is explained{_where(asked.explained[clicked], asked)}.")
    elif clicked in asked.beside:
        lowers.append(
            f"it chose an article that stands beside the one explained{_where(asked.beside[clicked], asked)}."
        )
    passed = [a for a in dict.fromkeys(others) if a in asked.explained and a != clicked]
    if passed:
        explained = "which is explained here" if len(passed) == 1 else "explained here"
        lowers.append(f"it was shown {_named(passed, titles)}, {explained}, and chose another article.")
    held = [a for a in dict.fromkeys(read) if a in asked.explained]
    both = [f"the model read {_named(held, titles)}, explained here, in its history."] if held else []
    why, against = (raises, lowers) if score > 0 else (lowers, raises)
    told = [_sentence(text) for text in [*why, *both]]
    if not told:
        return [*map(_sentence, against), OUTWEIGHED if against else NOTHING, *alike]
    return told + [f"{'And' if i else 'Against that,'} {text}" for i, text in enumerate(against)]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _where(count: int, asked: Asked) -> str:
    return "" if asked.count == 1 else f" in {count:,} of the {asked.count:,} recommendations"


def _named(articles: Sequence[str], titles: Mapping[str, tuple[str, str]]) -> str:
    told = [shown(titles.get(a, ("", ""))[0], TITLE) or shown(a, 60) for a in articles[:NAMED]]
    names = [f"“{isolated(title)}”" for title in told]
    more = [f"{len(articles) - NAMED:,} more"] if len(articles) > NAMED else []
    return " and ".join([", ".join([*names, *more][:-1]), [*names, *more][-1]]).removeprefix(" and ")
