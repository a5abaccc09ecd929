"""Whole jobs on models of other code bases, proposals, and commands after scoring. Not here: changing their files."""

from __future__ import annotations

import contextlib
import io
from functools import partial
from pathlib import Path

import torch
from input_kinds import Kind, files_in
from input_runs import summed
from support import every_format, finished, page_world, theirs, tiny

from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.lookout import find_data, look_at
from rec_trak.attribution.proposal import propose
from rec_trak.comparison.run import compare_runs
from rec_trak.config.analysis import read_analysis_config
from rec_trak.detection.cleaning import Choice, clean_log
from rec_trak.detection.suspects import read_suspects
from rec_trak.trust.run import trust_run

BASES = ("plm4newsrs-transformer", "newsreclib", "keras")
HELD = ("*.json", "*.tsv", "*.txt", "*.safetensors", "settings.yaml")


def jobs(place: Path) -> list[Kind]:
    """A job on each code base's model: settings, dictionaries, word vectors, a language model's folder."""
    return [_job(place / name, name) for name in BASES] + [_proposal(place / "proposed")]


def _job(folder: Path, name: str) -> Kind:
    folder.mkdir()
    torch.manual_seed(0)
    with contextlib.redirect_stderr(io.StringIO()):
        state, keys = every_format.KINDS[name](folder, None)
    checkpoint = folder / "a.pt"
    torch.save(state, checkpoint)
    config = tiny.write_config(folder, checkpoints=str(checkpoint), sample_size=8, **keys)

    def read() -> None:
        job = read_job(Run(read_analysis_config(config), "train_clean", "clean"))
        _ = [member.state_dict() for member in job.members]

    files = [path for path in files_in(folder, *HELD) if folder / "data" not in path.parents]
    return Kind(f"job, {name}", tuple(files), (read,), share=0.5)


def _proposal(folder: Path) -> Kind:
    """What checkpoint_info --write looks at."""
    there = theirs.write_theirs(folder)
    tiny.write_tree(folder / "data", rows=8)
    checkpoint = there / "clean_0.ckpt"

    def read() -> None:
        seen = look_at([checkpoint])
        propose(seen, find_data(folder / "data", seen[0].code_base), str(folder / "new.yaml"))

    files = (checkpoint, there / "m.yaml", folder / "glove.txt", *files_in(folder / "data", "*.csv", "*.json"))
    return Kind("proposed YAML", files, (read,), share=0.5)


def later(place: Path) -> list[Kind]:
    """What trust, suspects, clean and compare read of finished runs."""
    with contextlib.redirect_stdout(io.StringIO()):
        folder = finished.finished_run(place / "later", members=2)
        clean, poisoned = (page_world.write_run(place / "two" / name, seed=i) for i, name in enumerate("cp"))
    log = place / "later/data"
    readers = (
        partial(trust_run, folder),
        lambda: read_suspects(results_dir=folder),
        lambda: clean_log(folder, None, Choice(top=3)),
    )
    store = folder / "store"
    files = [path for path in files_in(folder, "*.csv", "*.json", "trak_*.npy") if store not in path.parents]
    both = files_in(place / "two", "*.csv", "*.json", "trak_*.npy")
    return [
        Kind("commands on a run", (*files, *files_in(log, "*.csv")), readers, settle=summed),
        Kind("compared runs", both, (partial(compare_runs, clean, poisoned),), settle=summed),
    ]
