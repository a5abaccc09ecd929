"""The only place that drives `TRAKer`: features of rows and targets. Not here: reading input, solving, ranking."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from trak import TRAKer

from rec_trak.attribution.job import Job, fingerprint, versions
from rec_trak.attribution.needs import require_room_for_features, require_room_for_targets
from rec_trak.attribution.ways import Way, choose_way
from rec_trak.clicks import ClickOutput
from rec_trak.data.articles import Articles
from rec_trak.data.batches import Inputs, build_inputs
from rec_trak.data.impressions import Impressions
from rec_trak.errors import ConfigError, NumericalError, StoreError
from rec_trak.gradients.memory import keep_heap
from rec_trak.gradients.preflight import GradientChoice
from rec_trak.progress import progress
from rec_trak.scoring.solve import RidgeScoreComputer
from rec_trak.sketch.projection import NonFiniteGradient
from rec_trak.sketch.projectors import make_projector
from rec_trak.store.manifest import (
    MANIFEST,
    check_manifest,
    digest,
    opened,
    pending_rows,
    proofs_in,
    read_manifest,
    write_json,
)
from rec_trak.store.saver import RowSaver, rows_pending, targets_pending
from rec_trak.words import quoted

NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


@dataclass(frozen=True)
class Featurized:
    """What `featurize` did.

    Attributes:
        rows: N.
        members: checkpoints.
        computed: rows featurized in this call, over all members; the rest were there already.
        gradient: the path that was taken, and why; None where nothing was missing.
    """

    rows: int
    members: int
    computed: int
    gradient: GradientChoice | None


def featurize(job: Job, proofs: dict[str, Any] | None = None) -> Featurized:
    """Fill the job's save directory with projected gradients and Q of every row, for every checkpoint.

    Rows that an earlier run finished are left as they are, whatever its batch size.

    Args:
        job: what to featurize.
        proofs: of its members, by digest, as JSON; kept in the manifest with those of earlier calls.

    Raises:
        StoreError: the directory is another run's, locked, damaged, or there is no room on the disk.
        RoomError: there is not enough memory to score with this K.
        NumericalError: a row's gradient is not finite; the message names the row.
        ConfigError: the gradient path asked for does not work on this model.
    """
    missing = missing_rows(job)
    total = len(job.inputs) * len(job.members)
    if not missing:
        return Featurized(len(job.inputs), len(job.members), 0, None)
    require_room_for_features(job)
    way = choose_way(job, job.inputs, job.loss)
    keep_heap()
    recorded = {
        "versions": versions(),
        "device": job.device,
        "batch_size": job.batch_size,
        "gradient": way.choice.name,
        "checkpoints": [member.name for member in job.members],
    }
    with opened(job.save_dir, fingerprint(job), recorded) as manifest:
        if proofs:
            manifest["proofs"] = proofs_in(manifest) | proofs
            write_json(job.save_dir / MANIFEST, manifest)
        missing = missing_rows(job)  # another process may have been at it while this one waited or looked
        traker = _traker(job, way, job.loss)
        with progress(total, "featurize", "row", done=total - missing) as bar:
            for model_id, member in enumerate(job.members):
                traker.load_checkpoint(member.state_dict(), model_id)
                done = traker.saver.current_store["is_featurized"]
                for rows in way.batches(pending_rows(done), job.inputs, job.batch_size):
                    _featurize_rows(traker, job, way, rows)
                    bar.update(len(rows))
                traker.saver.commit()
    return Featurized(len(job.inputs), len(job.members), missing, way.choice)


def featurize_targets(job: Job, name: str, targets: Impressions, articles: Articles | None = None) -> int:
    """Fill the save directory with the projected gradients of a target set; returns M, the number of targets.

    A target's f is the margin of its first candidate against its others, whatever loss the rows have. A second call
    computes nothing.

    Args:
        job: the job that was featurized.
        name: of the target set: letters, digits, `_`, `-` and `.`.
        targets: M rows of the same shape as training rows.
        articles: the table of the targets where it is more than the job's.

    Raises:
        StoreError: rows are missing, the directory is another run's, another target set has this name, or no room.
        RoomError: there is not enough memory to score with this K.
        NumericalError: a gradient is not finite.
        ConfigError: the name cannot name a file.
    """
    if not name or not set(name) <= NAME_CHARACTERS or name.startswith(("id_", ".")):
        raise ConfigError(f"targets: {quoted(name)} cannot name a file. Expected letters, digits, _ - and . alone.")
    require_finished(job)
    articles = job.articles if articles is None else articles
    inputs = build_inputs(targets, articles, job.model_config)
    features = fingerprint(dataclasses.replace(job, inputs=inputs, articles=articles))["features"]
    wanted = {"digest": digest(features), "count": len(inputs)}
    manifest = read_manifest(job.save_dir) or {"targets": {}}
    if manifest["targets"].get(name) == wanted and not _targets_missing(job, name, len(inputs)):
        return len(inputs)  # all is there, so that nobody's writing is waited for
    require_room_for_targets(job, name, len(inputs))
    with opened(job.save_dir, fingerprint(job), {}) as manifest:
        held = manifest["targets"].get(name)
        if held not in (None, wanted):
            raise StoreError(
                f"{job.save_dir}: another target set is stored as {quoted(name)}. Got {len(inputs)} targets "
                f"({wanted['digest']}), the directory holds {held['count']} ({held['digest']}). Choose another name."
            )
        manifest["targets"][name] = wanted
        write_json(job.save_dir / MANIFEST, manifest)
        _fill_targets(job, name, inputs)
    return len(inputs)


def require_finished(job: Job) -> None:
    """Refuse a save directory that does not hold every row of every member.

    Raises:
        StoreError: nothing there, another run's, or rows missing; the message says what to run.
    """
    missing = missing_rows(job)
    if missing:
        raise StoreError(
            f"{job.save_dir}: not all rows are featurized. Got {missing} missing, expected none over "
            f"{len(job.members)} checkpoint(s). Run scripts/featurize.py with the same flags; it does what is missing."
        )


def missing_rows(job: Job) -> int:
    """How many rows are without features over all members; refuses another run's directory before any work."""
    manifest = read_manifest(job.save_dir)
    if manifest is not None:
        check_manifest(job.save_dir, manifest, fingerprint(job))
    return sum(rows_pending(job.save_dir, model_id, len(job.inputs)) for model_id in range(len(job.members)))


def _traker(job: Job, way: Way, loss: str) -> TRAKer:
    """traker, with every part that it leaves to others. Its constructor gives the root logger a handler: taken back."""
    handlers = list(logging.root.handlers)
    try:
        return TRAKer(
            model=job.model,
            task=ClickOutput(loss),
            train_set_size=len(job.inputs),
            save_dir=str(job.save_dir),
            device=job.device,
            gradient_computer=way.computer(job.precision),
            projector=make_projector(job.projector, job.parameter_count, job.proj_dim, job.seed, job.device),
            saver=RowSaver,
            score_computer=RidgeScoreComputer,
            use_half_precision=False,
            projector_seed=job.seed,
            grad_wrt=job.grad_wrt,
            lambda_reg=job.lambda_rel,
            logging_level=logging.WARNING,
        )
    finally:
        logging.root.handlers[:] = handlers


def _featurize_rows(traker: TRAKer, job: Job, way: Way, rows: np.ndarray) -> None:
    """One batch of rows that are all still missing: traker cannot take a batch of which some are finished."""
    try:
        traker.featurize(way.batch(job, job.inputs, rows), inds=rows)
    except NonFiniteGradient as error:
        raise _not_finite(job.inputs, rows[error.positions], traker.ckpt_loaded) from None
    q = traker.saver.current_store["out_to_loss"][rows]
    if not np.isfinite(q).all():
        traker.saver.current_store["is_featurized"][rows] = 0
        raise _not_finite(job.inputs, rows[~np.isfinite(q[:, 0])], traker.ckpt_loaded)


def _not_finite(inputs: Inputs, rows: np.ndarray, model_id: int) -> NumericalError:
    named = ", ".join(f"row {row} ({inputs.impressions.sources[row]})" for row in rows[:3])
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return NumericalError(
        f"featurize: the gradient is not finite in {named}{more}, checkpoint {model_id}. Got NaN or Inf, expected "
        "finite numbers. Check the checkpoint, or leave the row out."
    )


def _targets_missing(job: Job, name: str, count: int) -> int:
    """Targets without gradients over all members."""
    return sum(targets_pending(job.save_dir, model_id, name, count) for model_id in range(len(job.members)))


def _fill_targets(job: Job, name: str, inputs: Inputs) -> None:
    """Project the gradients of the targets that are missing, for every member."""
    todo = _targets_missing(job, name, len(inputs))
    if not todo:
        return
    way = choose_way(job, inputs, "softmax")
    traker = _traker(job, way, "softmax")
    saver = traker.saver
    with progress(todo, f"targets {name}", "target") as bar:
        for model_id, member in enumerate(job.members):
            traker.start_scoring_checkpoint(name, member.state_dict(), model_id, len(inputs))
            with saver.targets_allowed(model_id):
                for rows in way.batches(pending_rows(saver.current_store[f"{name}_done"]), inputs, job.batch_size):
                    try:
                        traker.score(way.batch(job, inputs, rows), inds=rows)
                    except NonFiniteGradient as error:
                        raise _not_finite(inputs, rows[error.positions], model_id) from None
                    saver.current_store[f"{name}_done"][rows] = 1
                    bar.update(len(rows))
