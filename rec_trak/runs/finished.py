"""A finished run opened, the one way for whoever reads it, and what does not belong together left aside by name.

Scores, target sets, gradients, click log, members, the job: a results folder is written by several commands over time,
and target sets, verdicts or explanations of an earlier scoring may lie in it. Not here: judging anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rec_trak.config.analysis import AnalysisConfig, analysis_config
from rec_trak.config.documents import read_json
from rec_trak.errors import ConfigError, DataError
from rec_trak.results.belongs import check_sums, read_record, scoring_digest, scoring_parts
from rec_trak.results.files import METADATA, Results, read_results
from rec_trak.words import outline, quoted

if TYPE_CHECKING:  # each brings torch, which reading scores does without
    from rec_trak.attribution.job import Job
    from rec_trak.runs.click_log import ClickLog
    from rec_trak.runs.members import Members
    from rec_trak.runs.stored import Stored

SETS = "targets"
AGAIN = {  # files that are made from a scoring, and what makes them again
    "detection.*": "scripts/detect.py",
    "suspicion.csv": "scripts/detect.py",
    "suspects.*": "scripts/suspects.py",
    "trust.*": "scripts/trust.py",
    "validation.*": "scripts/validate.py",
    "history.csv": "scripts/score.py with --targets and --history",
    "explain_*.csv": "scripts/score.py with --explain",
    "by_*.csv": "scripts/score.py with --group_by",
}


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
        held = self.results if of is None else of
        path = held.folder / name
        if not (path.is_file() and _belongs(held, name)):
            return None
        check_sums(held.folder, [name], _again(name))
        return path

    def files(self, pattern: str, of: Results | None = None) -> list[Path]:
        """All such files whose names fit a pattern, sorted."""
        held = self.results if of is None else of
        found = sorted(path for path in held.folder.glob(pattern) if path.is_file() and _belongs(held, path.name))
        check_sums(held.folder, [path.name for path in found], _again(pattern))
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
    belonging, aside = [], [*_other_parent(results), *_stale_files(results, f"{results.folder.name}/")]
    for path in sorted((results.folder / SETS).glob(f"*/{METADATA}")):
        name, metadata = path.parent.name, _metadata(path)
        differing = _difference(results.metadata, metadata)
        if differing:
            aside.append(
                f"{SETS}/{name} left aside: scored with another {differing} than the run that it lies in. Score both "
                f"again: scripts/score.py, and with --targets {name}."
            )
            continue
        belonging.append(name)
        aside += _stale_files(dataclasses.replace(results, folder=path.parent, metadata=metadata), f"{SETS}/{name}/")
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


def _other_parent(results: Results) -> Iterator[str]:
    """A sentence where a target set is opened by itself and the run it lies in is of another scoring."""
    above = results.folder.resolve().parent
    path = above.parent / METADATA
    if above.name == SETS and path.is_file():
        differing = _difference(results.metadata, _metadata(path))
        if differing:
            yield f"{above.parent.name} left aside: self-influence was scored with another {differing} than this set."


def _metadata(path: Path) -> dict[str, Any]:
    """The content of a set's metadata.json; {} where it is damaged, which whoever reads the set is told."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _difference(own: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The first part by which two scorings differ; '' where they are one, or do not say."""
    ours, others = scoring_parts(own), scoring_parts(theirs)
    if ours is None or (others is None and "scoring" not in own):
        return ""
    others = others or {}
    differing = [key for key in ours.keys() | others.keys() if ours.get(key) != others.get(key)]
    order = ("checkpoints", "row_count", "rows", "proj_dim", "lambda_rel")
    known = [key for key in order if key in differing]
    return f"`{(known or sorted(differing))[0]}`" if differing else ""


def _stale_files(held: Results, where: str) -> Iterator[str]:
    """A sentence for the files of each kind that are of another scoring."""
    for pattern, command in AGAIN.items():
        names = [path.name for path in sorted(held.folder.glob(pattern)) if path.is_file()]
        stale = [name for name in names if not _belongs(held, name)]
        if stale:
            named = ", ".join(stale[:3]) + (f" and {len(stale) - 3} more" if len(stale) > 3 else "")
            yield f"{where}{named} left aside: of an earlier scoring. {command} makes them again."


def _again(name: str) -> str:
    command = next((command for pattern, command in AGAIN.items() if fnmatch(name, pattern)), "scripts/score.py")
    return f"Run {command} again."


def _belongs(held: Results, name: str) -> bool:
    """Whether a file is of the scoring that it lies beside. Folders from before that was recorded are taken as one."""
    return "scoring" not in held.metadata or read_record(held.folder).get(name) == scoring_digest(held.metadata)
