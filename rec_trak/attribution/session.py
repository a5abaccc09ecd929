"""Features of rows and targets in a save directory that fits, locked and with room. Not here: filling it, solving."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from rec_trak.attribution.filling import fill_rows, fill_targets, plan_rows
from rec_trak.attribution.job import Job, fingerprint, versions
from rec_trak.attribution.needs import require_room_for_features, require_room_for_targets
from rec_trak.attribution.ways import agreed_way
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs, build_inputs
from rec_trak.data.targets import Targets
from rec_trak.errors import ConfigError, StoreError
from rec_trak.gradients.memory import keep_heap
from rec_trak.gradients.preflight import GradientChoice
from rec_trak.locks import remove_dead
from rec_trak.progress import progress
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
from rec_trak.words import quoted
from rec_trak.workers import agreed, is_first

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
        plan = agreed(lambda: plan_rows(job, way, manifest))
        way = way.as_begun(plan["blocks"])
        missing = sum(rows for _, _, rows in plan["work"])
        with progress(total, "featurize", "row", done=total - missing) as bar:
            fill_rows(job, way, plan, bar)
        if is_first():
            _conclude(job)
    return Featurized(len(job.inputs), len(job.members), missing, way.choice)


def _writing(
    job: Job, recorded: dict[str, Any], blocks: dict[str, int] = BLOCKS
) -> AbstractContextManager[dict[str, Any]]:
    """The save directory, locked by the first of the workers; to the others it is open as long as that one waits."""
    return opened(job.save_dir, fingerprint(job), recorded, blocks) if is_first() else nullcontext({})


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
        fill_targets(job, name, inputs, manifest)
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


def _targets_missing(job: Job, name: str, count: int) -> int:
    """Targets without gradients over all members."""
    return sum(targets_pending(job.save_dir, model_id, name, count) for model_id in range(len(job.members)))


def _has_targets(job: Job, name: str, wanted: dict[str, Any]) -> bool:
    manifest = read_manifest(job.save_dir) or {"targets": {}}
    return manifest["targets"].get(name) == wanted and not _targets_missing(job, name, wanted["count"])
