"""The only place that drives `TRAKer`: features of rows and targets. Not here: reading input, solving, ranking."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from trak import TRAKer

from rec_trak.attribution.job import Job, fingerprint, versions
from rec_trak.attribution.needs import require_room_for_features, require_room_for_targets
from rec_trak.attribution.ways import Way, agreed_way
from rec_trak.clicks import ClickOutput
from rec_trak.data.articles import Articles
from rec_trak.data.batches import Inputs, build_inputs
from rec_trak.data.impressions import Impressions
from rec_trak.data.targets import Targets
from rec_trak.errors import ConfigError, NumericalError, StoreError
from rec_trak.gradients.memory import keep_heap
from rec_trak.gradients.preflight import GradientChoice
from rec_trak.locks import remove_dead
from rec_trak.progress import progress
from rec_trak.scoring.solve import RidgeScoreComputer
from rec_trak.sketch.projection import NonFiniteGradient
from rec_trak.sketch.projectors import make_projector
from rec_trak.store.blocks import begin, cut_rows, cut_targets, end, unfinished
from rec_trak.store.layout import member_state, rows_pending, targets_pending
from rec_trak.store.manifest import (
    BLOCKS,
    MANIFEST,
    check_manifest,
    digest,
    opened,
    proofs_in,
    read_manifest,
    write_json,
)
from rec_trak.store.saver import RowSaver
from rec_trak.words import quoted
from rec_trak.workers import agreed, drawn, is_first, workers

if TYPE_CHECKING:
    from tqdm import tqdm

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
    missing, total = agreed(lambda: missing_rows(job)), len(job.inputs) * len(job.members)
    if not missing:
        if is_first():
            _conclude(job)
        return Featurized(len(job.inputs), len(job.members), 0, None)
    if is_first():
        require_room_for_features(job)
    way = agreed_way(job, job.inputs, job.loss)
    keep_heap()
    recorded = {
        "versions": versions(),
        "device": job.device,
        "batch_size": job.batch_size,
        "gradient": way.choice.name,
        "checkpoints": [member.name for member in job.members],
    }
    with _writing(job, recorded, way.blocks(job)) as manifest:
        if proofs and is_first():
            manifest["proofs"] = proofs_in(manifest) | proofs
            write_json(job.save_dir / MANIFEST, manifest)
        plan = agreed(lambda: _plan(job, way, manifest))
        way = way.as_begun(plan["blocks"])
        missing = sum(rows for _, _, rows in plan["work"])
        with progress(total, "featurize", "row", done=total - missing) as bar:
            _fill(_traker(job, way, job.loss), job, way, plan, bar)
        if is_first():
            _conclude(job)
    return Featurized(len(job.inputs), len(job.members), missing, way.choice)


def _writing(
    job: Job, recorded: dict[str, Any], blocks: dict[str, int] = BLOCKS
) -> AbstractContextManager[dict[str, Any]]:
    """The save directory, locked by the first of the workers; to the others it is open as long as that one waits."""
    return opened(job.save_dir, fingerprint(job), recorded, blocks) if is_first() else nullcontext({})


def _plan(job: Job, way: Way, manifest: dict[str, Any]) -> dict[str, Any]:
    """What is to do, once all maps are there: block sizes, and member, block and rows of each unfinished block."""
    saver = _traker(job, way, job.loss).saver
    saver.adopt_all(manifest)
    work = []
    for model_id in range(len(job.members)):
        if model_id not in saver.model_ids:
            saver.register_model_id(model_id, False)
        else:
            saver.load_current_store(model_id)  # makes maps anew that are gone
        cut = cut_rows(job.save_dir / str(model_id), len(job.inputs), manifest["blocks"])
        work += [(model_id, block, cut.length(block)) for block in unfinished(cut)]
    return {"blocks": manifest["blocks"], "work": work}


def _fill(traker: TRAKer, job: Job, way: Way, plan: dict[str, Any], bar: tqdm) -> None:
    """Featurize the blocks of the plan that this worker draws; the first one ends when all are done."""
    work, before = plan["work"], bar.n
    done = np.cumsum([0, *(rows for _, _, rows in work)])
    for number in drawn(len(work), lambda blocks: bar.update(before + int(done[blocks]) - bar.n)):
        model_id, block, _ = work[number]
        if traker.ckpt_loaded != model_id:
            traker.load_checkpoint(job.members[model_id].state_dict(), model_id)
            part = traker.saver.part(plan["blocks"])
        rows = begin(part, block)
        for batch in way.batches(np.arange(rows.start, rows.stop), job.inputs, job.batch_size):
            _featurize_rows(traker, job, way, batch)
            bar.update(len(batch) if workers().size == 1 else 0)
        end(part, block)


def _conclude(job: Job) -> None:
    """Say for traker that all members are featurized, and remove the lock of a process that died before it could."""
    for model_id in range(len(job.members)):
        state = member_state(job.save_dir, model_id)
        if state and not state["is_featurized"]:
            write_json(job.save_dir / f"id_{model_id}.json", {str(model_id): state | {"is_featurized": 1}})
    remove_dead(job.save_dir)


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
    inputs, wanted = _wanted(job, targets, job.articles if articles is None else articles)
    if agreed(lambda: _has_targets(job, name, wanted)):
        remove_dead(job.save_dir)
        return len(inputs)  # all is there, so that nobody's writing is waited for
    if is_first():
        require_room_for_targets(job, name, len(inputs))
    with _writing(job, {}) as manifest:
        held = manifest.get("targets", {}).get(name)
        if held not in (None, wanted):
            raise StoreError(
                f"{job.save_dir}: another target set is stored as {quoted(name)}. Got {len(inputs)} targets "
                f"({wanted['digest']}), the directory holds {held['count']} ({held['digest']}). Choose another name."
            )
        if is_first():
            manifest["targets"][name] = wanted
            write_json(job.save_dir / MANIFEST, manifest)
        _fill_targets(job, name, inputs, manifest)
    return len(inputs)


def holds_targets(job: Job, name: str, targets: Targets) -> bool:
    """Whether the save directory holds just these targets under this name."""
    held = (read_manifest(job.save_dir) or {}).get("targets", {}).get(name)
    return held is not None and held == _wanted(job, targets.impressions, targets.articles)[1]


def _wanted(job: Job, targets: Impressions, articles: Articles) -> tuple[Inputs, dict[str, Any]]:
    """What the model reads of targets, and what the manifest says of them."""
    inputs = build_inputs(targets, articles, job.model_config)
    features = fingerprint(dataclasses.replace(job, inputs=inputs, articles=articles))["features"]
    return inputs, {"digest": digest(features), "count": len(inputs)}


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


def _has_targets(job: Job, name: str, wanted: dict[str, Any]) -> bool:
    manifest = read_manifest(job.save_dir) or {"targets": {}}
    return manifest["targets"].get(name) == wanted and not _targets_missing(job, name, wanted["count"])


def _fill_targets(job: Job, name: str, inputs: Inputs, manifest: dict[str, Any]) -> None:
    """Project the gradients of the targets that are missing, for every member."""
    way = agreed_way(job, inputs, "softmax")
    plan = agreed(lambda: _targets_plan(job, name, len(inputs), way, manifest))
    traker, part = _traker(job, way, "softmax"), None
    work = plan["work"]
    done = np.cumsum([0, *(rows for _, _, rows in work)])
    with progress(int(done[-1]), f"targets {name}", "target") as bar:
        for number in drawn(len(work), lambda blocks: bar.update(int(done[blocks]) - bar.n)):
            model_id, block, _ = work[number]
            if part is None or traker.saver.current_model_id != model_id:
                traker.start_scoring_checkpoint(name, job.members[model_id].state_dict(), model_id, len(inputs))
                part = traker.saver.part(plan["blocks"], (name, len(inputs)))
            rows = begin(part, block)
            with traker.saver.targets_allowed(model_id):
                for batch in way.batches(np.arange(rows.start, rows.stop), inputs, job.batch_size):
                    try:
                        traker.score(way.batch(job, inputs, batch), inds=batch)
                    except NonFiniteGradient as error:
                        raise _not_finite(inputs, batch[error.positions], model_id) from None
            end(part, block)


def _targets_plan(job: Job, name: str, count: int, way: Way, manifest: dict[str, Any]) -> dict[str, Any]:
    """As `_plan`, of a target set's maps."""
    saver = _traker(job, way, "softmax").saver
    saver.adopt_all(manifest)
    work = []
    for model_id in range(len(job.members)):
        saver.init_experiment(name, count, model_id)
        cut = cut_targets(job.save_dir / str(model_id), name, count, manifest["blocks"])
        work += [(model_id, block, cut.length(block)) for block in unfinished(cut)]
    return {"blocks": manifest["blocks"], "work": work}
