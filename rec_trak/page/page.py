"""The page: its sections put together into one HTML file that fetches nothing. Not here: any section, or number.

Everything is made from the results folder alone, so the same folder gives the same bytes. Titles, users and file names
come from other people's data: the template escapes them, tables travel as JSON, and a policy in the page forbids any
request.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from rec_trak.page.analysed import analysed
from rec_trak.page.compared import compared
from rec_trak.page.detection import detection
from rec_trak.page.rows import known_titles
from rec_trak.page.sections import agreement, group_tables, own_rows
from rec_trak.page.tables import Table, shown
from rec_trak.page.targets import SETS, target_sets
from rec_trak.page.trust import trust
from rec_trak.page.validated import validation
from rec_trak.results.files import Results, Writer, as_csv, write_files
from rec_trak.results.panels import labelled
from rec_trak.results.plots import DPI, plot_detection_curves
from rec_trak.runs.finished import FinishedRun, open_run
from rec_trak.words import signed

FILE = "report.html"
NOT_VALIDATED = (
    "Not validated: nobody has checked yet, by retraining without them, that the clicks named here do what these "
    "numbers say. Take ranks as a lead, not as a proof."
)


@dataclass(frozen=True)
class Page:
    """What was written.

    Attributes:
        path: the HTML file.
        others: what stands beside it: figures and tables of the page that no other script writes.
        facts: the first screen's sentences, for a terminal.
        left_aside: what lies in the folder and is of another scoring, a sentence each.
    """

    path: Path
    others: list[Path]
    facts: list[str]
    left_aside: tuple[str, ...]


def write_page(
    results_dir: str | Path,
    compare_dir: str | Path | None = None,
    output: str | Path | None = None,
    command: str = "",
) -> Page:
    """Write the page of a finished run.

    Args:
        results_dir: what scripts/score.py wrote.
        compare_dir: what scripts/compare.py wrote about this run and another; None for a page without that section.
        output: the file, or a folder for `report.html`; folders are made. None: in `results_dir`.
        command: what makes this page again, to stand in it.

    Raises:
        DataError: a file of the run or of the comparison is missing or damaged, or the comparison is of other runs.
        NumericalError: a score is NaN or infinite.
        StoreError: the page cannot be written.
    """
    run = open_run(results_dir)
    content = page_content(run, None if compare_dir is None else Path(compare_dir), command)
    place = _place(run.folder if output is None else Path(output))
    text = _template().render(content).encode(errors="replace")
    page, *others = write_files(place.parent, {place.name: lambda file: file.write(text), **_beside(content)})
    facts = [content["verdict"], *content["facts"]]
    validated = content["validation"]
    facts.append(f"By retraining: {validated['verdict']}" if validated else NOT_VALIDATED)
    return Page(page, others, facts, run.left_aside)


def page_content(run: FinishedRun, compare_dir: Path | None, command: str) -> dict[str, Any]:
    """All that the template is given.

    Raises:
        DataError: see `write_page`.
    """
    results, scored = run.results, [run.target_set(name) for name in run.sets[:SETS]]
    titles = known_titles(run, scored)
    own, (sets, more_sets) = own_rows(results, titles), target_sets(run, scored, titles)
    tables, found = group_tables(run, "own"), detection(run)
    comparison, agreed = compared(compare_dir, results, titles), agreement(run)
    trusted, validated = trust(run), validation(run)
    everything = [*tables, *(table for one in sets for table in one["tables"]), *(found["tables"] if found else []),
                  *(trusted["tables"] if trusted else []),
                  *(table for one in (validated or {"sets": []})["sets"] for table in one["tables"])]  # fmt: skip
    return {
        "title": _title(results),
        "labelled": labelled(results.labels),
        "verdict": _verdict(own, sets, found),
        "facts": _facts(results, comparison),
        "trust": trusted,
        "validation": validated,
        "not_validated": NOT_VALIDATED,
        "detection": found,
        "sets": sets,
        "more_sets": more_sets,
        "own": own,
        "tables": tables,
        "comparison": comparison,
        "agreement": agreed,
        "analysed": analysed(results),
        "notes": [shown(note, None) for note in [*(results.metadata.get("notes") or []), *run.left_aside]],
        "commands": _commands(results, sets, comparison, compare_dir, command),
        "absent": _absent(
            results,
            {"trust": trusted, "detection": found, "targets": sets, "groups": tables, "comparison": comparison},
            agreed,
        ),
        "config": json.dumps(results.metadata.get("config"), indent=2, ensure_ascii=False),
        "embedded": embedded(everything),
    }


def _beside(content: dict[str, Any]) -> dict[str, Writer]:
    """The figures as PNG and the tables as CSV that stand in the page alone."""
    classes = as_csv(pd.DataFrame(content["own"]["classes"]))
    writers = {"classes.csv": classes} if content["labelled"] else {}
    if content["detection"] and content["detection"]["panels"]:
        figure = plot_detection_curves(content["detection"]["panels"])
        writers["detection_curves.png"] = partial(figure.savefig, format="png", dpi=DPI)
    if "pairs" in content["agreement"]:
        writers["member_agreement.csv"] = as_csv(pd.DataFrame(content["agreement"]["pairs"]))
    return writers


def embedded(tables: list[Table]) -> Markup:
    """The tables as JSON that can stand in a script element, whatever their texts hold."""
    text = json.dumps({table.name: dataclasses.asdict(table) for table in tables}, separators=(",", ":"))
    for sign in "<>&":  # else a title could end the element
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _place(output: Path) -> Path:
    return output if output.suffix.lower() in (".html", ".htm") and not output.is_dir() else output / FILE


def _title(results: Results) -> str:
    model, dataset = (results.metadata.get(key) for key in ("model_type", "dataset_type"))
    return shown(f"Which clicks taught the {model} model: {dataset}" if model and dataset else results.folder.name, 120)


def _verdict(own: dict[str, Any], sets: list[dict[str, Any]], found: dict[str, Any] | None) -> str:
    """The strongest finding that the numbers support, in plain words."""
    if found and found["verdict"]:
        return found["verdict"]
    if sets:
        return f"Recommendations of “{sets[0]['name']}”: {' '.join(sets[0]['sentences'])}"
    return " ".join(own["sentences"])


def _facts(results: Results, comparison: dict[str, Any] | None) -> list[str]:
    members = len(results.metadata.get("members") or [])
    facts = [f"{len(results.scores):,} training clicks ranked, {members} checkpoint{'s' * (members != 1)}."]
    if comparison:
        facts.append(
            f"Clean against poisoned: {comparison['matched']:,} clicks stand in both; a rank changed by "
            f"{comparison['moved']:.1f} percentile points on average (unrelated rankings: 33.3)."
        )
    return facts


def _absent(results: Results, sections: dict[str, Any], agreed: dict[str, Any]) -> list[dict[str, str]]:
    """What the page does not tell, and the command that would make it."""
    folder = shlex.quote(str(results.folder))
    names = ("score", "detect", "compare", "report", "trust")
    score, detect, compare, again, trust_script = (f"python scripts/{name}.py" for name in names)
    ways = {
        "trust": (
            "How far each ranking can be trusted",
            f"`{trust_script} --results_dir {folder}`, without retraining",
        ),
        "detection": (
            "How well the rankings find poison",
            f"Where a column says which clicks are poisoned: `{detect} --results_dir {folder}`",
        ),
        "targets": ("Which clicks taught a recommendation", f"`{score} --targets NAME` with this run's flags"),
        "groups": ("Sums by article, user and day", f"`{score}` with this run's flags"),
        "comparison": (
            "Clean against poisoned",
            f"Score both checkpoints, run `{compare}`, then `{again} --results_dir {folder} --compare_dir DIR`",
        ),
    }
    absent = [{"what": what, "why": why} for name, (what, why) in ways.items() if not sections[name]]
    if "reason" in agreed:
        absent.append({"what": "Do the members agree?", "why": agreed["reason"]})
    return absent


def _commands(
    results: Results,
    sets: list[dict[str, Any]],
    comparison: dict[str, Any] | None,
    compare_dir: Path | None,
    command: str,
) -> list[str]:
    """The commands that made what the page shows, each once."""
    commands = [results.metadata.get("command"), *(one["command"] for one in sets)]
    if comparison is not None:
        flags = [part for side, place in comparison["folders"].items() for part in (f"--{side}_dir", place)]
        commands.append(shlex.join(["python", "scripts/compare.py", *flags, "--output_dir", str(compare_dir)]))
    return [shown(text, None) for text in dict.fromkeys([*commands, command]) if text]


@lru_cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("rec_trak", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _shown_number, "count": lambda value: f"{value:,}", "ticks": _with_code,
                            "signed": lambda value: signed(value).replace("-", "−")}  # fmt: skip
    return environment.get_template("report.html.j2")


def _shown_number(value: float) -> str:
    return f"{value + 0.0:.3g}".replace("-", "−", 1)


def _with_code(text: str) -> Markup:
    """The text, escaped, with what stands in backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))
