"""A finished run opened, the one way for whoever reads it, and what does not belong together left aside by name.

Scores, target sets, gradients, click log, members, the job: a results folder is written by several commands over time,
and target sets, verdicts or explanations of an earlier scoring may lie in it. Not here: judging anything.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rec_trak.config.analysis import AUTO, AnalysisConfig, analysis_config
from rec_trak.errors import ConfigError, DataError
from rec_trak.results.belongs import check_sums, scoring_digest
from rec_trak.results.files import METADATA, Results, read_results
from rec_trak.runs.aside import SETS, again, belongs, difference, metadata_of, other_parent, own_file, stale_files
from rec_trak.words import outline, quoted

if TYPE_CHECKING:  # each brings torch, which reading scores does without
    from rec_trak.attribution.job import Job
    from rec_trak.runs.click_log import ClickLog
    from rec_trak.runs.members import Members
    from rec_trak.runs.stored import Stored


@dataclass(frozen=True)
class FinishedRun:
    """A results folder.

    Attributes:
        results: its own scores.
        sets: names of the target sets that were scored from the same gradients, rows and checkpoints, with one ridge.
        left_aside: a sentence for each target set and file that lies there and is of another scoring.
    """

    results: Results
    sets: tuple[str, ...]
    left_aside: tuple[str, ...]

    __repr__ = outline

    @property
    def folder(self) -> Path:
        return self.results.folder

    @property
    def metadata(self) -> dict[str, Any]:
        return self.results.metadata

    @property
    def scoring(self) -> str | None:
        """The digest of this scoring, to be named by whatever is made from it."""
        return scoring_digest(self.metadata)

    def settings(self) -> AnalysisConfig:
        """The configuration that the run was made with.

        Raises:
            DataError: metadata.json does not say it.
            ConfigError: it is not one.
        """
        where = self.folder / METADATA
        if not isinstance(self.metadata.get("config"), dict) or not self.metadata.get("dataset_type"):
            raise DataError(
                f"{where}: does not say which click log was scored. Got no `config` or no `dataset_type`, expected "
                "what scripts/score.py writes. Score with the script."
            )
        return analysis_config(self.metadata["config"], str(where))

    def target_set(self, name: str | None = None) -> Results:
        """The scores of a target set; None for the only one there is.

        Raises:
            ConfigError: no set was scored, none is named where there are several, or there is none of this name.
            DataError: the set is of another scoring, or its files are damaged.
        """
        folder, there = self.folder / SETS, ", ".join(self.sets)
        aside = next((told for told in self.left_aside if name and told.startswith(f"{SETS}/{name} ")), None)
        if aside:
            raise DataError(f"{folder / str(name)}: is not of this scoring. {aside}")
        if not self.sets:
            raise ConfigError(
                f"{folder}: no target set is scored. Got none, expected one that shows the articles under suspicion. "
                "Run scripts/score.py with --targets."
            )
        if name is None and len(self.sets) > 1:
            raise ConfigError(f"{folder}: which targets? Got none named, expected one of {there}. Name it (--targets).")
        name = self.sets[0] if name is None else name
        if name not in self.sets:
            raise ConfigError(
                f"{folder}: targets not scored. Got {quoted(name)}, expected one of {there}. Run scripts/score.py with "
                f"--targets {name}."
            )
        from rec_trak.runs.click_log import check_same_rows

        told = read_results(folder / name)
        check_same_rows(self.results, told)
        return told

    def target_sets(self) -> list[Results]:
        """The scores of every target set, in the order of their names."""
        return [self.target_set(name) for name in self.sets]

    def file(self, name: str, of: Results | None = None) -> Path | None:
        """A file that another command made from this scoring (of a target set: from the set's); None if there is none.

        A file of an earlier scoring is none: `left_aside` names it.
        """
        return own_file(self.results if of is None else of, name)

    def files(self, pattern: str, of: Results | None = None) -> list[Path]:
        """All such files whose names fit a pattern, sorted."""
        held = self.results if of is None else of
        found = sorted(path for path in held.folder.glob(pattern) if path.is_file() and belongs(held, path.name))
        check_sums(held.folder, [path.name for path in found], again(pattern))
        return found

    def stored(self, log: ClickLog | None = None) -> Stored:
        """The projected gradients and Q that the run was scored from.

        Args:
            log: the click log, where it is open already; else it is read if the loss makes several rows of one.

        Raises:
            DataError: the run does not say how it was made, or which row is whose is not to be known.
            StoreError: the gradients are gone, incomplete or another run's.
        """
        from rec_trak.runs.stored import open_stored

        return open_stored(self.results, lambda: (log or self.click_log()).rows)

    def click_log(self, data_path: str | Path | None = None, news_items_path: str | Path | None = None) -> ClickLog:
        """The click log that the run was made from; see `click_log.read_click_log`."""
        from rec_trak.runs.click_log import read_click_log

        return read_click_log(self.results, self.settings(), data_path, news_items_path)

    def members(self, **limits: float) -> Members:
        """The scores of the run's single members; see `members.read_members`."""
        from rec_trak.runs.members import read_members

        return read_members(self.results, self.stored, **limits)

    def job(self, given: AnalysisConfig | None = None) -> Job:
        """The job that the run was, read again and known to be that of its gradients.

        Args:
            given: an analysis that the user names now. A model of the user's own code is imported by what it says
                alone: nothing that a results folder names is ever imported.

        Raises:
            ConfigError, DataError, CheckpointError: an input is gone or changed, or the model is of the user's own
                code and `given` does not name it.
            StoreError: the gradients are of other input.
        """
        from rec_trak.attribution.job import Run, fingerprint, read_job
        from rec_trak.runs.stored import stored_gradients
        from rec_trak.store.manifest import check_manifest, read_manifest

        save_dir, told, config = stored_gradients(self.results), self.metadata, self.settings()
        code = ("model", "forward", "tokeniser")
        if any(getattr(config, key) is not None for key in code):
            config = dataclasses.replace(config, **{key: given and getattr(given, key) for key in code})
            if all(getattr(config, key) is None for key in code):
                raise ConfigError(
                    f"{self.folder / METADATA}: the model is of the user's own code, which is only imported where a "
                    "YAML given now names it. Got none, expected the run's own. Give it (trust.py --config)."
                )
        if config.lambda_rel == AUTO:
            config = dataclasses.replace(config, lambda_rel=float(told["score"]["lambda_rel"]))
        job = read_job(Run(config, told.get("dataset_type"), told.get("model_type")))
        check_manifest(save_dir, read_manifest(save_dir), fingerprint(job))
        return job


def open_run(folder: str | Path) -> FinishedRun:
    """The finished run in a results folder.

    Raises:
        DataError: a file of the run is missing, damaged, or does not fit the others.
        NumericalError: a score is NaN or infinite.
    """
    results = read_results(folder)
    belonging, aside = [], [*other_parent(results), *stale_files(results, f"{results.folder.name}/")]
    for path in sorted((results.folder / SETS).glob(f"*/{METADATA}")):
        name, metadata = path.parent.name, metadata_of(path)
        differing = difference(results.metadata, metadata)
        if differing:
            aside.append(
                f"{SETS}/{name} left aside: scored with another {differing} than the run that it lies in. Score both "
                f"again: scripts/score.py, and with --targets {name}."
            )
            continue
        belonging.append(name)
        aside += stale_files(dataclasses.replace(results, folder=path.parent, metadata=metadata), f"{SETS}/{name}/")
    return FinishedRun(results, tuple(belonging), tuple(aside))


def scored_set(folder: Path, name: str) -> Results:
    """The scores of a target set below a results folder, whether or not self-influence was scored beside it.

    Raises:
        ConfigError, DataError: as `FinishedRun.target_set`.
    """
    if (folder / METADATA).is_file():
        return open_run(folder).target_set(name)
    return read_results(folder / SETS / name)


def check_made_by(results: Results, job: Job, count: int) -> None:
    """Refuse scores of a target set that a job as it is now would not give.

    Args:
        results: of the set.
        job: the analysis, read again.
        count: M, targets of the set.

    Raises:
        DataError: names the first part that differs: features, rows, checkpoints, ridge or number of targets.
    """
    from rec_trak.attribution.job import fingerprint

    told = results.metadata
    features = (told.get("features") or {}) | (told.get("rows") or {})
    wanted, score = fingerprint(job), told.get("score") or {}
    held = {key: features.get(key) for key in wanted["features"]}
    held |= {"members": [member.get("digest") for member in told.get("members") or []]}
    held |= {"lambda_rel": score.get("lambda_rel"), "target_count": score.get("target_count")}
    now = wanted["features"] | {"members": list(wanted["models"].values())}
    now |= {"lambda_rel": job.lambda_rel, "target_count": count}
    for key, value in now.items():
        if held[key] != value:
            raise DataError(
                f"{results.folder / METADATA}: the scores are of another run, `{key}` differs. Got {value} now, scored "
                f"with {held[key]}. Run scripts/score.py with --targets again."
            )
