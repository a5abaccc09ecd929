"""Commands that a page advises, with the flags that made the run. Not here: which to advise, or running any."""

from __future__ import annotations

import shlex

from rec_trak.results.files import Results
from rec_trak.words import plain

OF_ITS_OWN = ("--targets", "--save_matrix", "--group_by", "--history", "--explain", "--wait", "--spreadsheet_safe")
MADE_BY = ("scripts/featurize.py", "scripts/score.py", "scripts/analyze.py")


def again(results: Results, script: str, *flags: str) -> str:
    """`python scripts/SCRIPT` with the run's own flags and these, in backticks; in words where the run does not tell.

    Args:
        results: of a run, whose metadata.json holds the command that made it.
        script: such as `score.py`.
        flags: further ones; words in capitals are for the reader to fill in.
    """
    own = _own_flags(results)
    words = ["python", f"scripts/{script}", *(own or ()), *flags]
    command = f"`{plain(' '.join(map(shlex.quote, words)))}`".replace("\n", " ")
    return command if own else f"{command} with this run's flags"


def _own_flags(results: Results) -> list[str] | None:
    """The flags of the command that made the run, without those of one scoring; None where it is no such command."""
    try:
        words = shlex.split(str(results.metadata.get("command") or ""))
    except ValueError:
        return None
    place = next((i for i, word in enumerate(words) if word.endswith(MADE_BY)), None)
    if place is None or "--config" not in words or any("`" in word for word in words):
        return None
    kept, keep = [], True
    for word in words[place + 1 :]:
        keep = word.split("=")[0] not in OF_ITS_OWN if word.startswith("--") else keep
        kept += [word] * keep
    return kept
