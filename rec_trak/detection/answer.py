"""What detection says in plain lines: which articles, clicks and users, how sure, what to do. Not here: measuring."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np

from rec_trak.detection.suspicion import (
    CLICKS,
    CO_READING,
    COPIES,
    INFLUENCE,
    KNOWN,
    LOSS,
    UNBACKED,
    Suspicion,
    users_table,
)
from rec_trak.results.lines import Lines

SHOWN = 20  # rows and users that the record names
GIVEN, TARGETS = "given", "targets"  # who says which articles are in question: the caller, or the target set
NAMED, REMOVED = 5, 10  # of them that a line names, and that the command removes
MEASURED = {  # AUROC of the rule on real clicks with planted attacks, docs/detection.md
    "clicks": "74 to 97 of 100 pairs (bots that read like its readers were put last)",
    "histories": "80 of 100 pairs",
    "shown": "71 of 100 pairs",
}
WHAT = {"clicks": "clicks on", "histories": "rows with a history that holds", "shown": "clicks on others beside"}
QUESTION = {"clicks": "same_article", "histories": "same_history", "shown": "shown"}


def suspicion_record(
    found: Suspicion, table: Lines, articles: list[dict[str, str]], poisoned: np.ndarray | None = None
) -> dict[str, Any]:
    """The answer as plain data: `through`, `rule` (signal -> weight), `articles` (id, title), `rows` and `users` (how
    many, and the first SHOWN as `first_rows`, `first_users`). A first row has `places`, signal of the rule -> which it
    is by that signal alone among the rows in question, and `poisoned`, 1, 0 or None where nobody says.

    Args:
        found: the rule's answer.
        table: what `suspicion_table` makes of it.
        articles: id and title of each article in question.
        poisoned: (N,) 0 or 1; None where nobody says.
    """
    users, first = users_table(table), table.take(np.arange(min(SHOWN, len(table)))).to_dict("records")
    for one, row in zip(first, found.order.tolist(), strict=False):
        own = {name: values for name, values in found.signals.items() if name in found.weights or name == KNOWN}
        one["places"] = {name: 1 + int((values[found.among] > values[row]).sum()) for name, values in own.items()}
        one["poisoned"] = None if poisoned is None else int(poisoned[row])
    return {
        "through": found.through,
        "rule": found.weights,
        "articles": articles,
        "rows": len(table),
        "users": len(users),
        "first_rows": first,
        "first_users": users.head(SHOWN).to_dict("records"),
    }


def answer_lines(content: dict[str, Any]) -> list[str]:
    """What `detect_run` found, a sentence a line, for a reader who decides; nothing about baselines."""
    told = content["suspicion"]
    names = [f"{one['id']} ({one['title']})" for one in told["articles"]]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    what = f"{WHAT[told['through']]} {', '.join(names[:NAMED])}{more}"
    if not told["rows"]:
        return [f"There is nothing to rank: no {what}."]
    rows = ", ".join(str(row["sample_idx"]) for row in told["first_rows"][:NAMED])
    users = ", ".join(str(user["user_id"]) for user in told["first_users"][:NAMED])
    return [
        f"Asked about: {told['rows']:,} {what}, by {told['users']:,} users.",
        f"Look first at rows (sample_idx) {rows} and users {users}, by {why_first(told)}.",
        *([content["known"]["told"]] if content["known"] else []),
        *([] if content["known"] and content["known"]["used"] else [_sure(content)]),
        f"To remove the first {min(told['rows'], REMOVED)} of them: rec-trak clean --results_dir "
        f"{shlex.quote(content['results_dir'])} --by suspicion --top {min(told['rows'], REMOVED)} --output NEW.csv; "
        "suspicion.csv lists all in this order.",
    ]


def why_first(told: dict[str, Any]) -> str:
    """What the first rows of a `suspicion_record` come first by: the rest of a sentence on the order."""
    if told["first_rows"] and KNOWN in told["first_rows"][0]:
        return "how like the known injected ones they are"
    readers = "clicked it" if told["through"] == CLICKS else "have it in their history"
    said = {
        CO_READING: f"how little they read like the others who {readers}",
        LOSS: "how little the model expects their clicks",
        COPIES: "how nearly their histories are copies of other users'",
        UNBACKED: "how little their users' other rows know of them",
        INFLUENCE: "how much their clicks taught the model to offer it",
    }
    *first, last = (said[name] for name in told["rule"])
    return f"{len(first) + 1} signs together: {', '.join(first)}, and {last}" if first else last


def _sure(content: dict[str, Any]) -> str:
    """How sure: measured where there are labels, else what the rule reached elsewhere."""
    told = content["suspicion"]
    lines = content["questions"].get(QUESTION[told["through"]], {}).get("rankings", [])
    own = next((line for line in lines if line["ranking"] == content["ranked_by"]), None)
    if own is not None and own["auroc"] is not None:
        return (
            "How sure: by the labels, this order sets an injected one above a genuine one in "
            f"{100 * own['auroc']:.0f} of 100 pairs ({own['n_poisoned']} of these {own['n']} rows are injected)."
        )
    return (
        "How sure: nobody said which of these are injected, and some or none may be. Where bots were planted into real "
        f"clicks, this order set one above a genuine reader in {MEASURED[told['through']]}: an order to look in, no "
        "proof."
    )
