"""From a name, in a command or a configuration, to the targets it means. Not here: readers of files, scores."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rec_trak.attribution.job import Job, Run
from rec_trak.attribution.rows import sample
from rec_trak.attribution.session import holds_targets
from rec_trak.config.reading import Reading, without_blanks
from rec_trak.config.targets import DATA_SETS, TargetSet
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions, read_slates
from rec_trak.data.parsed import read_parsed
from rec_trak.data.places import click_log_path, data_format, data_sets, validation_name
from rec_trak.data.sources import LINES
from rec_trak.data.targets import (
    Targets,
    exposure,
    read_explained,
    read_log_slates,
    read_log_targets,
    read_targets,
)
from rec_trak.data.unread import unread
from rec_trak.errors import ConfigError, DataError
from rec_trak.words import LINE, plain


@dataclass(frozen=True)
class NamedTargets:
    """Targets and what they were asked for as.

    Attributes:
        name: of the set; its files in the save directory and its results folder bear it.
        definition: what it is, as the configuration says it, for metadata.json.
        articles, impressions: see `Targets`.
    """

    name: str
    definition: dict[str, Any]
    articles: Articles
    impressions: Impressions

    def __len__(self) -> int:
        return len(self.impressions)


def named_targets(run: Run, job: Job, wanted: str) -> NamedTargets:
    """The targets that `wanted` means: a name in the config's `targets`, or the path of a pairwise CSV, whose stem is
    then the name.

    The exposure of an article without a `count` is that to users who have not read it, see `unread`; but where the save
    directory holds it to all impressions, as earlier builds made it, those are meant.

    Raises:
        ConfigError: neither a known name nor a file; or a set of users that is neither.
        DataError: a file does not hold what it should, an article is unknown, or no target is left.
    """
    sets = run.config.targets
    definition = sets.get(wanted, wanted)
    name = wanted if wanted in sets else Path(wanted).stem
    if isinstance(definition, str):
        definition = TargetSet(csv=definition)
    if definition.kind == "csv" and not Path(definition.csv).is_file():
        if Path(definition.csv).is_dir():
            raise ConfigError(
                f"`targets`: a folder where a CSV should be. Got {definition.csv}, expected a pairwise CSV. Name a "
                f"file in it, or, if it is a MIND folder, write `{name}: {{mind: {definition.csv}}}` into the YAML."
            )
        close = difflib.get_close_matches(wanted, sets, n=1)
        meant = f" Did you mean {close[0]}?" if close and wanted not in sets else ""
        raise ConfigError(
            f"--targets: no such file or name. Got {definition.csv}, expected a CSV or one of: "
            f"{', '.join(sets) or 'none'}.{meant}"
        )
    where = f"targets `{name}`"
    targets = _read(definition, run, job, where)
    if definition.kind == "article" and definition.count is None and not holds_targets(job, name, targets):
        targets = unread(targets, run.config.seed, where)
    impressions = targets.impressions
    if definition.count is not None:
        impressions = sample(impressions, min(definition.count, len(impressions)), run.config.seed, asked_for=False)
    given = {key: value for key, value in dataclasses.asdict(definition).items() if value is not None}
    return NamedTargets(name, given, targets.articles, impressions)


def _read(definition: TargetSet, run: Run, job: Job, where: str) -> Targets:
    if definition.kind == "csv":
        return Targets(job.articles, read_targets(definition.csv, job.articles, reading=without_blanks(job.reading)))
    if definition.kind in ("mind", "log"):
        log = definition.mind or definition.log
        if Path(log).suffix == ".csv":
            return Targets(job.articles, read_targets(log, job.articles, reading=without_blanks(job.reading)))
        return read_log_targets(log, job.articles, job.reading)
    if definition.kind == "explain":
        return Targets(job.articles, read_explained(definition.explain, job.articles))
    return exposure(_slates(definition.users, run, job, where), str(definition.article), where)


def _slates(users: str, run: Run, job: Job, where: str) -> Targets:
    """The impressions of a data set of the run's own tree, or of a file or folder."""
    articles, reading, config = job.articles, without_blanks(job.reading), run.config
    if users not in DATA_SETS and Path(users).exists():
        return _shown(Path(users), articles, reading)
    names = dict.fromkeys((*DATA_SETS, *data_sets(Path(config.data_path))))
    if users not in names:
        raise ConfigError(
            f"{where}: no such users. Got {users}, expected a pairwise CSV, a folder with a log, or one of "
            f"{plain(', '.join(names), LINE // 4)}. Mend `users`."
        )
    own = {"train": run.dataset_type, "val": validation_name(run.dataset_type) or users}
    name = own.get(users, users)
    kind = data_format(config.data_path, run.dataset_type, config.data_format)
    if kind == "adressa":
        raise ConfigError(
            f"{where}: Adressa's events do not say what else was shown. Got `users` {users}, expected a log that does. "
            "Name a file or folder."
        )
    path = click_log_path(config.data_path, name, kind)
    if name != run.dataset_type and path == click_log_path(config.data_path, run.dataset_type, kind):
        raise ConfigError(
            f"{where}: the data tree holds one click log. Got `users` {users}, expected {path}, which is `train`. Name "
            "a file or folder."
        )
    if kind == "pairwise":
        return _shown(path, articles, reading)
    if kind in LINES:
        return _shown(path, articles, reading)
    read, impressions = read_parsed(path.parent, config.news_items_path)
    if read.ids != articles.ids:
        raise DataError(
            f"{where}: {read.source} is not the run's {articles.source}. Got {len(read)} articles, expected the same "
            f"{len(articles)}. Give the `users` of one preprocessing."
        )
    return Targets(articles, impressions)


def _shown(path: Path, articles: Articles, reading: Reading) -> Targets:
    """The impressions of a log or its folder, whole."""
    if path.is_dir() or path.suffix in (".tsv", ".parquet"):
        return read_log_slates(path, articles, reading)
    return Targets(articles, read_slates(path, articles, reading))
