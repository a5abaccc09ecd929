"""The page: its sections put together into one HTML file that fetches nothing. Not here: any section, or number.

Everything is made from the results folder alone, so the same folder gives the same bytes. Where the log is so long that
the index of its rows would make the page heavy, the index stands in a second file beside it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from rec_trak.page.advice import NOT_VALIDATED
from rec_trak.page.again import again
from rec_trak.page.analysed import analysed
from rec_trak.page.compared import compared
from rec_trak.page.detection import detection
from rec_trak.page.finder import MOST, row_index, size
from rec_trak.page.glossary import entries
from rec_trak.page.naming import names_of, people, shelf
from rec_trak.page.promoted import suspected
from rec_trak.page.reading import reading
from rec_trak.page.rendering import embedded, in_script, rendered
from rec_trak.page.rows import known_titles
from rec_trak.page.sections import agreement, group_tables, own_rows
from rec_trak.page.summary import mentioned, picture, plain_text, ten_lines
from rec_trak.page.tables import Table, shown
from rec_trak.page.targets import SETS, target_sets
from rec_trak.page.trust import trust
from rec_trak.page.validated import validation
from rec_trak.results.files import Results, Writer, as_csv, write_files
from rec_trak.results.panels import labelled
from rec_trak.results.plots import plot_detection_curves
from rec_trak.results.style import figure_files
from rec_trak.runs.finished import FinishedRun, open_run

FILE = "report.html"


@dataclass(frozen=True)
class Page:
    """What was written.

    Attributes:
        path: the HTML file.
        others: what stands beside it: figures and tables of the page that no other script writes.
        facts: the first screen's lines, for a terminal.
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
    vector: bool = False,
) -> Page:
    """Write the page of a finished run.

    Args:
        results_dir: what scripts/score.py wrote.
        compare_dir: what scripts/compare.py wrote about this run and another; None for a page without that section.
        output: the file, or a folder for `report.html`; folders are made. None: in `results_dir`.
        command: what makes this page again, to stand in it.
        vector: figures beside it as PDF and SVG too.

    Raises:
        DataError: a file of the run or of the comparison is missing or damaged, or the comparison is of other runs.
        NumericalError: a score is NaN or infinite.
        StoreError: the page cannot be written.
    """
    run = open_run(results_dir)
    place = _place(run.folder if output is None else Path(output))
    content = page_content(run, None if compare_dir is None else Path(compare_dir), command)
    content |= {
        "beside": run.folder if place.parent.resolve() == run.folder.resolve() else None,
        "page": place.name,
        "second": "",
    }
    pages = {}
    if size(content["index"]) > MOST:
        content["second"] = f"{place.stem}_rows.html"
        second = rendered(content | {"index": in_script(content["index"])}, "rows.html.j2")
        pages[content["second"]] = lambda file: file.write(second)
    text = rendered(content | {"index": "" if content["second"] else in_script(content["index"])})
    page, *others = write_files(
        place.parent, {place.name: lambda file: file.write(text), **pages, **_beside(content, vector)}
    )
    return Page(page, others, [plain_text(line) for line in content["lines"]], run.left_aside)


def page_content(run: FinishedRun, compare_dir: Path | None, command: str) -> dict[str, Any]:
    """All that the template is given.

    Raises:
        DataError: see `write_page`.
    """
    results, scored = run.results, [run.target_set(name) for name in run.sets[:SETS]]
    titles = known_titles(run, scored)
    own, (sets, more_sets) = own_rows(run, titles), target_sets(run, scored, titles)
    primary = scored[0] if scored else results
    bars = picture(primary, titles)
    compare = compared(compare_dir, results, titles)
    sections = {
        "trust": trust(run),
        "validation": validation(run),
        "suspects": suspected(run),
        "detection": detection(run, primary, titles),
        "comparison": compare,
        "sets": sets,
        "own": own,
        "tables": group_tables(run, "own"),
        "agreement": agreement(run),
    }
    lines = ten_lines(run, scored, titles, sections, (sets[0] if sets else own)["sentences"])
    told = [*mentioned(lines, "article"), *(bar["article_id"] for bar in bars["bars"])]
    read = reading(results, titles)
    names = names_of(_cards(sets, own, sections["detection"], compare), told, mentioned(lines, "user"))
    return sections | {
        "title": _title(results),
        "labelled": labelled(results.labels),
        "lines": lines,
        "not_validated": NOT_VALIDATED,
        "picture": bars,
        "primary": f"influence on {shown(primary.folder.name, 60)}" if scored else own["name"],
        "names": names,
        "people": people(results, primary, names, titles),
        "shelf": shelf(run, primary, names, titles),
        "more_sets": more_sets,
        "glossary": entries(),
        "analysed": analysed(results, read["told"]),
        "reading": read,
        "notes": [shown(note, None) for note in [*(results.metadata.get("notes") or []), *run.left_aside]],
        "commands": _commands(results, sets, compare, compare_dir, command),
        "absent": _absent(results, sections),
        "config": json.dumps(results.metadata.get("config"), indent=2, ensure_ascii=False),
        "embedded": embedded(_tables(sections)),
        "index": row_index(results, scored, titles, names),
    }


def _cards(
    sets: list[dict[str, Any]], own: dict[str, Any], found: dict[str, Any] | None, compare: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    """The rows that the page lists, the weightiest lists first."""
    for one in sets:
        yield from (*one["proponents"], *one["opponents"])
    yield from found["cards"] if found else []
    yield from own["rows"]
    for one in sets:
        for target in one["single"]:
            yield from (*target["proponents"], *target["opponents"])
    for one in compare["lists"] if compare else []:
        yield from one["cards"]


def _tables(sections: dict[str, Any]) -> list[Table]:
    """All tables of the page."""
    whole = [one for one in (sections["detection"], sections["trust"], *sections["sets"]) if one]
    whole += (sections["validation"] or {"sets": []})["sets"]
    return [*sections["tables"], *(table for one in whole for table in one["tables"])]


def _beside(content: dict[str, Any], vector: bool) -> dict[str, Writer]:
    """The figures (with `vector` those of a paper too) and the tables as CSV that stand in the page alone."""
    classes = as_csv(pd.DataFrame(content["own"]["classes"]))
    writers = {"classes.csv": classes} if content["labelled"] else {}
    if content["detection"] and content["detection"]["panels"]:
        draw = partial(plot_detection_curves, content["detection"]["panels"])
        writers |= figure_files("detection_curves", lambda columns: draw(columns=columns), vector)
    if "pairs" in content["agreement"]:
        writers["member_agreement.csv"] = as_csv(pd.DataFrame(content["agreement"]["pairs"]))
    return writers


def _place(output: Path) -> Path:
    return output if output.suffix.lower() in (".html", ".htm") and not output.is_dir() else output / FILE


def _title(results: Results) -> str:
    model, dataset = (results.metadata.get(key) for key in ("model_type", "dataset_type"))
    return shown(f"Which clicks taught the {model} model: {dataset}" if model and dataset else results.folder.name, 120)


def _absent(results: Results, sections: dict[str, Any]) -> list[dict[str, str]]:
    """What the page does not tell, and the command that would make it."""
    folder = shlex.quote(str(results.folder))
    detect, compare, report, trust_script = (
        f"python scripts/{name}.py" for name in ("detect", "compare", "report", "trust")
    )
    ways = {
        "trust": (
            "How far each ranking can be trusted",
            f"`{trust_script} --results_dir {folder}`, without retraining",
        ),
        "detection": (
            "How well the rankings find poison",
            f"Where a column says which clicks are poisoned: `{detect} --results_dir {folder}`",
        ),
        "sets": ("Which clicks taught a recommendation", again(results, "score.py", "--targets", "NAME")),
        "tables": ("Sums by article, user and day", again(results, "score.py")),
        "comparison": (
            "Clean against poisoned",
            f"Score both checkpoints, run `{compare}`, then `{report} --results_dir {folder} --compare_dir DIR`",
        ),
    }
    absent = [{"what": what, "why": why} for name, (what, why) in ways.items() if not sections[name]]
    if "reason" in sections["agreement"]:
        absent.append({"what": "Do the members agree?", "why": sections["agreement"]["reason"]})
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
