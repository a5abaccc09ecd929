"""A job whose ridge is `auto` -> the same job with the number that its own stores choose. Not here: how one is chosen.

The choice is made once for a save directory and kept there, in ridge.json, with what it was made from.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from typing import Any

from rec_trak.attribution.job import Job, fingerprint
from rec_trak.attribution.session import require_finished
from rec_trak.config.analysis import AUTO
from rec_trak.config.documents import DocumentError, read_json
from rec_trak.progress import progress
from rec_trak.scoring.choice import RIDGES, best_ridge, explained, mean_shares
from rec_trak.store.manifest import digest, write_json
from rec_trak.store.reading import read_member

FILE = "ridge.json"


def settled(job: Job) -> Job:
    """The job, its `lambda_rel` a number.

    Raises:
        StoreError: rows are missing, or the directory is another run's.
        NumericalError: gradients that are not finite, or all zero.
    """
    return job if job.lambda_rel != AUTO else replace(job, lambda_rel=best_ridge([explained_margins(job)]))


def explained_margins(job: Job) -> dict[float, float]:
    """lambda_rel -> share of the margins of left-out rows that is explained, a mean over members; kept in the store.

    Raises:
        StoreError, NumericalError: as `settled`.
    """
    require_finished(job)
    of = _identity(job)
    held = _held(job, of)
    if held is not None:
        return held
    shares = []
    with progress(len(job.members), "ridge", "checkpoint") as bar:
        for model_id in range(len(job.members)):
            shares.append(explained(*read_member(job.save_dir, model_id)))
            bar.update(1)
    found = mean_shares(shares)
    with suppress(OSError):  # a directory that only others may write to: it is found anew each time
        write_json(job.save_dir / FILE, {"of": of, "explained": {f"{ridge:g}": found[ridge] for ridge in found}})
    return found


def ridge_line(job: Job) -> str:
    """What was chosen and why, for the terminal and the notes of a run.

    Raises:
        StoreError, NumericalError: as `settled`.
    """
    shares = explained_margins(job)
    told = ", ".join(f"{ridge:g}: {share:.3f}" for ridge, share in shares.items())
    chosen = best_ridge([shares])
    return f"ridge: `lambda_rel` {chosen:g} explains most of the models' margins of rows left out ({told})"


def _identity(job: Job) -> str:
    """What the choice is of: gradients and members."""
    known = fingerprint(job)
    return digest(known["features"], known["models"], [float(ridge) for ridge in RIDGES])


def _held(job: Job, of: str) -> dict[float, float] | None:
    """An earlier choice of the same gradients; None where there is none, or it cannot be read: it is made again."""
    try:
        content: Any = read_json(job.save_dir / FILE)
        if content["of"] != of:
            return None
        found = {ridge: float(content["explained"][f"{ridge:g}"]) for ridge in RIDGES}
    except (OSError, DocumentError, KeyError, TypeError, ValueError):
        return None
    return found if all(map(math.isfinite, found.values())) else None
