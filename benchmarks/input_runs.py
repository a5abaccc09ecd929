"""A finished run as an input: its save directory and its results, each with what reads it. Not here: changing them."""

from __future__ import annotations

import contextlib
import io
from functools import partial
from pathlib import Path

import numpy as np
from input_kinds import Kind, files_in
from support import finished, page_world
from support.marked import mark_again, sum_again

from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import holds_targets, missing_rows
from rec_trak.config.analysis import read_analysis_config
from rec_trak.data.targets import Targets
from rec_trak.detection.run import detect_run, write_detection
from rec_trak.page.page import page_content
from rec_trak.results.belongs import RECORD, read_sums
from rec_trak.runs.finished import open_run
from rec_trak.runs.verifying import verify_run
from rec_trak.store import blocks
from rec_trak.trust.run import trust_run, write_trust


def runs(place: Path) -> list[Kind]:
    """A finished run: its save directory and its results, with and without check sums that are right."""
    with contextlib.redirect_stdout(io.StringIO()):
        folder = finished.finished_run(place / "finished", members=2)
        write_detection(folder, detect_run(folder, promoted=[finished.PROMOTED], top_k=3, draws=5))
        write_trust(folder, trust_run(folder))
        world, compared = page_world.write_everything(place / "page")
    store = folder / "store"
    job = read_job(Run(read_analysis_config(place / "finished/trak.yaml"), "train_clean", "clean"))
    targets = Targets(job.articles, job.impressions.subset(np.arange(3)))

    def solved() -> None:
        blocks._agreed.clear()
        run = open_run(folder)
        run.stored().targets(0, run.sets[0])
        _ = run.members(), run.stored().read(1)

    def opened() -> None:
        missing_rows(job)
        holds_targets(job, "benchmark_mixed", targets)

    told = (solved, opened, partial(verify_run, folder))
    shown = (
        lambda: page_content(open_run(folder), None, ""),
        partial(detect_run, folder, promoted=[finished.PROMOTED], draws=5),
    )
    page = (lambda: page_content(open_run(world), compared, ""),)
    maps, texts = files_in(store, "*.mmap"), files_in(store, "*.json")
    results = tuple(path for path in files_in(folder, "*.csv", "*.json", "trak_*.npy") if store not in path.parents)
    pages = (*files_in(world, "*.csv", "*.json", "*.npy"), *files_in(compared, "*.csv", "*.json"))
    return [
        Kind("manifest and markers", texts, told),
        Kind("maps", maps, told, settle=partial(_marked, store)),
        Kind("results", results, (*shown, partial(verify_run, folder)), settle=summed),
        Kind("results of the page", pages, page, settle=summed),
    ]


def summed(path: Path, rng: np.random.Generator) -> dict[Path, bytes]:
    """In two of three tries the file's check sum is made right, so that what reads it gets to see it."""
    record = path.parent / RECORD
    if path == record or path.name not in read_sums(path.parent) or rng.random() < 1 / 3:
        return {}
    before = record.read_bytes()
    sum_again(path.parent, path.name)
    return {record: before}


def _marked(store: Path, path: Path, rng: np.random.Generator) -> dict[Path, bytes]:
    """The same with the markers of a map's blocks, where it can still be mapped."""
    before = {marker: marker.read_bytes() for marker in store.glob("*/*blocks/*.json")}
    if rng.random() < 0.5:
        with contextlib.suppress(Exception):
            name = path.name.removesuffix("_grads.mmap")
            mark_again(store, int(path.parent.name), None if name == path.name or name == "" else name)
    return before
