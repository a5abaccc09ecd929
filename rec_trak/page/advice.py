"""How sure the first screen is, whether retraining agrees, what to do next, as parts of its lines. Not here: HTML."""

from __future__ import annotations

import shlex
from typing import Any

from rec_trak.detection.answer import REMOVED
from rec_trak.page.again import again
from rec_trak.page.tables import shown
from rec_trak.results.files import Results
from rec_trak.runs.finished import FinishedRun
from rec_trak.trust.arrays import LEAST_ROWS

Part = str | dict[str, str]
PERCENT = 1  # of the rows, proposed for a look and a trial removal
PLAINLY = {
    "stable": "with other random numbers, or other trainings of the same model, groups of clicks would come out much "
    "the same, single clicks change places; that it is right only retraining tells",
    "indicative": "the top of the order is a lead, but other random numbers or trainings would change part of it",
    "do not use": "other random numbers or trainings would give another order",
}
NOT_VALIDATED = (
    "Not validated: nobody has trained again without the strongest clicks yet. Take ranks as a lead, not as a proof."
)
SETTLED = (
    "More checkpoints (`python scripts/train.py --members`) or a trial removal (`--what removal`) would tell more. "
)
SURE = {"kind": "section", "id": "trust", "text": "Why?"}
FIND = {"kind": "section", "id": "find", "text": "See all clicks in this order."}


def how_sure(run: FinishedRun, sets: list[Results], sections: dict[str, Any]) -> list[Part]:
    """The verdict on the first target set's ranking, or on self-influence where nothing else is told; that retraining
    does not bear it out comes first."""
    trust, checked = sections["trust"], _checked(sections["validation"], sets)
    wanted = f"targets/{sets[0].folder.name}" if sets else ""
    line = next((one for one in (trust or {"lines": []})["lines"] if one["folder"] == wanted), None)
    if line is None and len(run.results.scores) < LEAST_ROWS:
        return [f"Too few clicks to judge a ranking: {LEAST_ROWS} are needed at least."]
    if line is None:
        return ["Nobody has judged this ranking yet: `python scripts/trust.py --results_dir "
                f"{shlex.quote(str(run.folder))}`."]  # fmt: skip
    told = f"{line['word']}: {PLAINLY.get(line['word'], line['reason'])}. "
    if checked and not checked["stale"] and not checked["bears_out"]:
        told = f"Not sure, since retraining does not bear it out. Only whether it would come out alike again: {told}"
    return [told, SURE]


def retrained(validation: dict[str, Any] | None, sets: list[Results]) -> list[Part]:
    """What retraining said of the same ranking, in two sentences at most."""
    if not validation or not (validation["verdict"] or validation["sets"]):
        return [NOT_VALIDATED]
    checked = _checked(validation, sets)
    if checked is None:
        return [validation["verdict"] or validation["sets"][0]["verdict"]]
    again = " That was an earlier ranking: run `scripts/validate.py` again." if checked["stale"] else ""
    return [f"{checked['plain']}{again} ", {"kind": "section", "id": "validation", "text": "What was measured?"}]


def _checked(validation: dict[str, Any] | None, sets: list[Results]) -> dict[str, Any] | None:
    """What retraining said of the first target set."""
    name = shown(sets[0].folder.name, 60) if sets else ""
    return next((one for one in (validation or {"sets": []})["sets"] if one["name"] == name), None)


def what_next(run: FinishedRun, sets: list[Results], sections: dict[str, Any]) -> list[Part]:
    """The next step: what not to act on, what to ask, or which rows to take out on trial."""
    trust, n = sections["trust"], len(run.results.scores)
    wanted = f"targets/{sets[0].folder.name}" if sets else ""
    line = next((one for one in (trust or {"lines": []})["lines"] if one["folder"] == wanted), None)
    if line and line["word"] == "do not use":
        better = line["improvement"]
        return ["Do not act on this ranking. " + (f"Better: {better}." if better else "Score with more members.")]
    if n == 1:
        return ["One click cannot be compared with others: score a log of more."]
    if not sets:
        command = again(run.results, "score.py", "--targets", "NAME")
        return [f"Ask about recommendations: {command} names the clicks behind them."]
    retrained = _checked(sections["validation"], sets)
    if retrained and not retrained["stale"] and not retrained["bears_out"]:
        better = line["improvement"] if line else ""
        return ["Remove nothing by this ranking yet, since retraining does not bear it out. "
                + (f"Better: {better}, then `python scripts/validate.py` again. " if better else SETTLED)
                + _leads(run, sets[0], sections)]  # fmt: skip
    flags = ("--training", "TRAINING.yaml", "--targets", sets[0].folder.name, "--what", "removal")
    validate, told = again(run.results, "validate.py", *flags), (sections["detection"] or {}).get("suspicion")
    if told and told["first_rows"]:
        checked = f" {validate} tells whether influence is to be believed: it trains without the strongest clicks."
        return _removal(run, told, "" if sections["validation"] else checked, _nothing_known(sections))
    checked = "" if sections["validation"] else f"; {validate} does that and says whether it helped"
    folder, top = shlex.quote(str(sets[0].folder)), max(1, round(n * PERCENT / 100))
    which = f"the {top:,} strongest clicks ({PERCENT} % of all)" if top > 1 else "the strongest click"
    return [
        f"Look at {which}: `python scripts/clean.py --results_dir {folder} --top {top} --dry_run` lists them, "
        f"`--output NEW.csv` writes the log without them. Train on that and compare{checked}. ", FIND,
    ]  # fmt: skip


def _leads(run: FinishedRun, primary: Results, sections: dict[str, Any]) -> str:
    """Which rows to read where none is to be removed: those that look injected, or the strongest."""
    told = (sections["detection"] or {}).get("suspicion")
    looked = bool(told and told["first_rows"])
    folder, by = (run.folder, " --by suspicion") if looked else (primary.folder, "")
    which = "the clicks that look most injected" if looked else "its strongest clicks"
    return (
        f"Read {which} as leads: `python scripts/clean.py --results_dir {shlex.quote(str(folder))}{by} --top 20 "
        "--dry_run` lists them."
    )


def _nothing_known(sections: dict[str, Any]) -> bool:
    """Whether neither labels nor the click log say that anything was injected, though the log was looked at."""
    looked = sections["suspects"]
    return looked is not None and not looked["articles"] and not sections["detection"]["measured"]


def _removal(run: FinishedRun, told: dict[str, Any], checked: str, doubtful: bool) -> list[Part]:
    """Which rows to take out on trial, and how; `doubtful`: nothing says that any of them was injected."""
    first = [str(one["sample_idx"]) for one in told["first_rows"][:REMOVED]]
    rows = [part for row in first for part in (", ", {"kind": "row", "id": row, "text": row})][1:]
    begin = "Nothing says that a click was injected. If you suspect it all the same, remove" if doubtful else "Remove"
    return [
        f"{begin} on trial row{'s' * (len(first) > 1)} ",
        *rows,
        ", those that look most injected: `python scripts/clean.py --results_dir "
        f"{shlex.quote(str(run.folder))} --by suspicion --top {len(first)} --output NEW.csv` writes the log without "
        f"them, and suspicion.csv lists all in this order. Train on NEW.csv and compare.{checked}",
    ]
