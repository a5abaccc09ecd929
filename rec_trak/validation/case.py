"""A scored target set of a run, made ready to be validated: everything read and checked. Not here: any retraining."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rec_trak.attribution.job import Job, Run
from rec_trak.attribution.session import featurize_targets, require_finished
from rec_trak.attribution.settled import settled
from rec_trak.attribution.target_sets import named_targets
from rec_trak.config.training import TrainingConfig
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import build_inputs
from rec_trak.errors import ConfigError
from rec_trak.results.files import Results
from rec_trak.runs.finished import check_made_by, scored_set
from rec_trak.runs.stored import Stored
from rec_trak.scoring.memory import require_systems
from rec_trak.store.manifest import digest
from rec_trak.training.job import check_same_model, start_vectors, train_settings, validation_inputs
from rec_trak.validation.experiment import Experiment
from rec_trak.validation.outcomes import make_lists
from rec_trak.validation.subsets import check_members_apart
from rec_trak.words import quoted

FOLDER = "validation"
MOST_SEED = 2**40  # so that those of its retrainings stay below 64 bits


@dataclass(frozen=True)
class Case:
    """What is validated.

    Attributes:
        job: the run's, featurized.
        name: of the target set.
        count: M, targets of the set.
        places: (m,) those that are measured, ascending.
        targets: these m targets; articles as in `articles`.
        articles: the table of the targets.
        results: the set's scores as the run left them.
        experiment: how to retrain, and what to measure.
        folder: where the retrainings go.
        seed: of the validation.
        workers: processes.
        recorded_seeds: members whose training seed is known, and is none of the validation's.
    """

    job: Job
    name: str
    count: int
    places: np.ndarray
    targets: Impressions
    articles: Articles
    results: Results
    experiment: Experiment
    folder: Path
    seed: int = 0
    workers: int = 1
    recorded_seeds: int = 0

    def member(self, model_id: int) -> tuple[np.ndarray, np.ndarray]:
        """Projected gradients (N, K) and Q (N,) of a member."""
        return self.stored.read(model_id)

    def member_targets(self, model_id: int) -> np.ndarray:
        """(m, K) projected gradients of the measured targets."""
        return self.stored.targets(model_id, self.name, self.count)[self.places]

    def in_rows(self, groups: np.ndarray) -> np.ndarray:
        """(J, N) groups of rows from groups (J, I) of impressions."""
        return groups[:, self.job.impression_of_row]

    @property
    def stored(self) -> Stored:
        """The save directory that all of it is read from."""
        job = self.job
        return Stored(job.save_dir, len(job.members), job.lambda_rel, job.impression_of_row, len(job.impressions))

    @property
    def identity(self) -> dict[str, Any]:
        """What the numbers are of: those of another ranking, or of other targets, do not go with them."""
        return {"scores": digest(self.results.scores), "measured_targets": digest(self.places), "seed": self.seed}


def make_case(
    run: Run,
    job: Job,
    training: TrainingConfig,
    where: str,
    wanted: str,
    max_targets: int = 60,
    seed: int = 0,
    workers: int = 1,
) -> Case:
    """A target set of a run, ready to be validated.

    Args:
        run, job: the run, featurized and scored.
        training: how its checkpoints were trained.
        where: the file of that, for messages.
        wanted: a scored target set, as scripts/score.py names it.
        max_targets: measure a seeded subset of so many.
        seed, workers: see `Case`.

    Raises:
        ConfigError: another model, no such target set, or a number out of range.
        StoreError: the run is not featurized, or its data changed.
        DataError: the set is not scored, or its scores are of other gradients or another ridge.
        RoomError: there is not enough memory to solve a system of this K.
    """
    _check_numbers(max_targets, workers, seed)
    check_same_model(training, job.model_config, where)
    named = named_targets(run, job, wanted)
    require_finished(job)
    job = settled(job)
    require_systems(job.proj_dim)  # now, not after hours of retraining
    results = scored_set(run.folder, named.name)
    check_made_by(results, job, len(named))
    known = check_members_apart([member.name for member in job.members], seed)
    featurize_targets(job, named.name, named.impressions, articles=named.articles)  # done: only compares
    places = np.delete(np.arange(len(named)), results.nothing_targets)  # no retraining moves the margin of these
    if len(places) > max_targets:
        places = np.sort(np.random.default_rng(seed).choice(places, size=max_targets, replace=False))
    targets = named.impressions.subset(places)
    measured = build_inputs(targets, named.articles, job.model_config)
    experiment = Experiment(
        replace(job.model_config, loss=training.loss),
        build_inputs(job.impressions, job.articles, job.model_config),
        validation_inputs(training, run.dataset_type, job.model_config),
        train_settings(training),
        measured,
        start_vectors(training, job.model_config),
        make_lists(measured, job.impressions, named.articles),
    )
    folder = results.folder / FOLDER
    return Case(
        job, named.name, len(named), places, targets, named.articles, results, experiment, folder, seed, workers, known
    )  # fmt: skip


def _check_numbers(max_targets: int, workers: int, seed: int) -> None:
    for flag, value in (("max_targets", max_targets), ("workers", workers)):
        if value < 1:
            raise ConfigError(f"--{flag}: too few. Got {value}, expected at least 1. Give a larger number.")
    if seed < 0:
        raise ConfigError(f"--seed: below zero. Got {seed}, expected 0 or more. Change it.")
    if seed > MOST_SEED:
        raise ConfigError(f"--seed: too large. Got {quoted(seed)}, expected at most {MOST_SEED}. Change it.")
