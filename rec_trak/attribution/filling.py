"""Blocks of rows and targets filled through `TRAKer`, which nothing else drives, by the workers of a job.

Not here: whether a save directory fits, its lock and manifest (session.py), or which path is taken (ways.py).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from trak import TRAKer

from rec_trak.attribution.job import Job
from rec_trak.attribution.ways import Way, agreed_way
from rec_trak.clicks import ClickOutput
from rec_trak.config.analysis import AUTO
from rec_trak.data.inputs import Inputs
from rec_trak.errors import NumericalError
from rec_trak.progress import progress
from rec_trak.scoring.solve import RidgeScoreComputer
from rec_trak.sketch.projection import NonFiniteGradient
from rec_trak.sketch.projectors import make_projector
from rec_trak.store.blocks import begin, cut_rows, cut_targets, end, unfinished
from rec_trak.store.saver import RowSaver
from rec_trak.workers import agreed, drawn, workers

if TYPE_CHECKING:
    from tqdm import tqdm


def plan_rows(job: Job, way: Way, manifest: dict[str, Any]) -> dict[str, Any]:
    """What is to do, once all maps are there: block sizes, and member, block and rows of each unfinished block."""
    saver = make_traker(job, way, job.loss).saver
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


def fill_rows(job: Job, way: Way, plan: dict[str, Any], bar: tqdm) -> None:
    """Featurize the blocks of the plan that this worker draws; the first one ends when all are done."""
    traker = make_traker(job, way, job.loss)
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


def plan_targets(job: Job, name: str, count: int, way: Way, manifest: dict[str, Any]) -> dict[str, Any]:
    """As `plan_rows`, of a target set's maps."""
    saver = make_traker(job, way, "softmax").saver
    saver.adopt_all(manifest)
    work = []
    for model_id in range(len(job.members)):
        saver.init_experiment(name, count, model_id)
        cut = cut_targets(job.save_dir / str(model_id), name, count, manifest["blocks"])
        work += [(model_id, block, cut.length(block)) for block in unfinished(cut)]
    return {"blocks": manifest["blocks"], "work": work}


def fill_targets(job: Job, name: str, inputs: Inputs, manifest: dict[str, Any]) -> None:
    """Project the gradients of the targets that are missing, for every member."""
    way = agreed_way(job, inputs, "softmax")
    plan = agreed(lambda: plan_targets(job, name, len(inputs), way, manifest))
    traker, part = make_traker(job, way, "softmax"), None
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


def make_traker(job: Job, way: Way, loss: str) -> TRAKer:
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
            lambda_reg=1.0 if job.lambda_rel == AUTO else job.lambda_rel,  # traker's own; nothing here solves by it
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
