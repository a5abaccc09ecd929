"""The YAML of an analysis as it could be, from checkpoints and a data folder; what is not found is a comment.

What is proposed has been tried: the settings described the checkpoint, the job was read, targets were read against it.
Not here: gradients, or where things are looked for (`lookout.py`).
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rec_trak.attribution.job import Job, Run, read_job
from rec_trak.attribution.lookout import Data, Seen, settings_places, targets_there
from rec_trak.attribution.target_sets import named_targets
from rec_trak.checkpoints.carried import MODEL_JSON
from rec_trak.checkpoints.source import OURS
from rec_trak.clicks import LOSSES
from rec_trak.config.analysis import CHECKPOINT_KEYS, MODEL_TYPES, analysis_config
from rec_trak.config.documents import load_yaml
from rec_trak.disk import replacing
from rec_trak.errors import ConfigError, RecTrakError, RecTrakWarning
from rec_trak.words import LINE, plain

SIMPLE = re.compile(r"[\w./][\w./=-]*")
EBNERD = "ebnerd-benchmark"
LEAST_DIM, MOST_DIM = 512, 2048
BYTES = 4  # of one projected number
MOST_DISK = 16 * 2**30


@dataclass(frozen=True)
class Proposal:
    """A YAML and how far it got.

    Attributes:
        text: of the file.
        missing: what a user must still write before it runs, a line each; empty where it runs as it is.
        runs: (data set, kind of model) pairs that it can be run with.
    """

    text: str
    missing: tuple[str, ...]
    runs: tuple[tuple[str, str], ...]


def propose(seen: list[Seen], data: Data | None, name: str) -> Proposal:
    """The YAML for these checkpoints on these data.

    Args:
        seen: the checkpoints, at least one.
        data: the click logs; None leaves them to the user.
        name: of the file, for the commands that are shown and the results' folder.

    Raises:
        ConfigError: the checkpoints are of different models.
    """
    _check_one_model(seen)
    values: dict[str, Any] = _checkpoints(seen)
    values |= {} if data is None else data.keys
    values |= {"proj_dim": LEAST_DIM, "seed": 42, "batch_size": 32, "device": "cpu"}
    values["output_dir"] = f"analysis/{Path(name).stem}"
    kinds = [kind for kind in MODEL_TYPES if any(one.kind == kind for one in seen)]
    jobs, why, values = _tried(values, seen, data, kinds)
    job = max(jobs, key=lambda one: len(one.inputs), default=None)
    values["proj_dim"] = _proj_dim(0 if job is None else len(job.inputs))
    targets = [] if job is None else _targets(values, data, job)
    missing, runs = _missing(seen, data, job, why), _runs(data, kinds) if job is not None else []
    lines = [*_head(name, missing, runs), *_checkpoint_lines(seen, values), *_settings_lines(seen, values, data, job)]
    lines += [*_data_lines(data, values), *_trak_lines(data, values, job), *_target_lines(targets)]
    return Proposal("\n".join(lines) + "\n", tuple(missing), tuple(runs))


def write_proposal(path: str | Path, proposal: Proposal) -> None:
    """Write the YAML where no file stands.

    Raises:
        ConfigError: a file stands there, or it cannot be written.
    """
    path = Path(path)
    check_free(path)
    try:
        with replacing(path) as temporary:
            Path(temporary).write_text(proposal.text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}). Give another place to --write.") from None


def check_free(path: str | Path) -> None:
    """Refuse a place where a file stands already.

    Raises:
        ConfigError: one does, or the folder does not exist.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        raise ConfigError(f"--write: a file stands there, which is never overwritten. Got {path}. Give another name.")
    if not path.parent.is_dir():
        raise ConfigError(f"--write: no such folder. Got {path.parent}, expected one that exists. Make it first.")


def _check_one_model(seen: list[Seen]) -> None:
    kinds = {(one.code_base, one.architecture): one.path for one in seen}
    if len(kinds) > 1:
        told = "; ".join(f"{path}: {base or 'unknown'} {made or ''}".rstrip() for (base, made), path in kinds.items())
        raise ConfigError(
            f"--write: the checkpoints are of different models. Got {told}, expected one model, clean and poisoned. "
            "Write a file for each."
        )


def _checkpoints(seen: list[Seen]) -> dict[str, Any]:
    """The keys that name them: single ones where there is one of a kind."""
    of = {kind: [str(one.path) for one in seen if one.kind == kind] for kind in MODEL_TYPES}
    if all(len(paths) <= 1 for paths in of.values()):
        return {CHECKPOINT_KEYS[kind]: paths[0] for kind, paths in of.items() if paths}
    return {"checkpoints": {kind: paths for kind, paths in of.items() if paths}}


def _proj_dim(rows: int) -> int:
    """The next power of two above the rows, between bounds, halved where the store would be too large."""
    wanted = LEAST_DIM
    while wanted < min(rows, MOST_DIM):
        wanted *= 2
    while wanted > LEAST_DIM and rows * wanted * BYTES > MOST_DISK:
        wanted //= 2
    return wanted


def _tried(
    values: dict[str, Any], seen: list[Seen], data: Data | None, kinds: list[str]
) -> tuple[list[Job], str, dict[str, Any]]:
    """A job a kind of the first settings with which they can be read, why the likeliest failed, and the keys."""
    reasons: dict[Path | None, str] = {}
    first = seen[0]
    if data is None or first.code_base is None:
        beside = first.path.with_name(MODEL_JSON)
        said = {"model_config": str(beside)} if first.code_base == OURS and beside.is_file() else {}
        return [], "", values | said
    for place in settings_places(seen, data):
        keys = values | ({} if place is None else {"model_config": str(place)})
        try:
            jobs = [_job(keys, data.set_for(kind), kind) for kind in reversed(kinds)]
        except RecTrakError as error:
            reasons[place] = str(error)
            continue
        loss = jobs[-1].model_config.loss
        return jobs, "", keys | ({"loss": loss} if loss in LOSSES and loss != "softmax" else {})
    found = [why for place, why in reasons.items() if place is not None]  # a file's fault says more than its absence
    return [], (found or list(reasons.values()))[0], values


def _job(values: dict[str, Any], dataset_type: str, kind: str) -> Job:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecTrakWarning)  # featurize.py says them again
        return read_job(Run(analysis_config(dict(values)), dataset_type, kind))


def _targets(values: dict[str, Any], data: Data, job: Job) -> list[tuple[str, Any, str]]:
    """Name, definition and '' (or why it cannot be used) of each target set that lies there."""
    found = []
    for name, definition in targets_there(data).items():
        config = analysis_config(values | {"targets": {name: definition}})
        try:
            targets = named_targets(Run(config, data.set_for("clean"), "clean"), job, name)
            found.append((name, definition, "" if len(targets) else "no click in it"))
        except RecTrakError as error:
            found.append((name, definition, str(error)))
    return found


def _missing(seen: list[Seen], data: Data | None, job: Job | None, why: str) -> list[str]:
    lines = []
    if seen[0].code_base is None:
        lines.append("`model`: the class that the checkpoint was trained with, and perhaps `forward`")
        if not seen[0].path.with_name(MODEL_JSON).is_file():
            lines.append("`model_config`: a model.json that says how text becomes numbers")
    if data is None:
        lines.append("`data_path`: the folder of the click logs; name it behind the checkpoints and it is looked into")
    elif job is None and seen[0].code_base is not None:
        lines.append(f"what is missing here: {why}")
    return lines


def _runs(data: Data | None, kinds: list[str]) -> list[tuple[str, str]]:
    return [] if data is None else [(data.set_for(kind), kind) for kind in kinds]


def _head(name: str, missing: list[str], runs: list[tuple[str, str]]) -> list[str]:
    lines = ["# Which training clicks taught this model what it does. docs/config.md explains every key."]
    lines.append("# Paths are relative to the folder in which the commands are run.")
    if missing:
        return [*lines, "#", "# Not whole yet:", *(_comment(f"  {line}") for line in missing)]
    for dataset_type, kind in runs:
        flags = f"--config {name} --dataset_type {dataset_type} --model_type {kind}"
        lines += ["#", _comment(f"  rec-trak featurize {flags}"), _comment(f"  rec-trak score     {flags}")]
    return lines


def _checkpoint_lines(seen: list[Seen], values: dict[str, Any]) -> list[str]:
    first = seen[0]
    lines = ["", _comment(f"{first.code_base or 'No known code base'}, {first.architecture or 'a model of your own'}.")]
    lines += [_comment(f"{one.path.name}: {one.kind}, {one.why}.") for one in seen]
    if "checkpoints" in values:
        lines.append("checkpoints:")
        for kind, paths in values["checkpoints"].items():
            lines += [f"  {kind}:", *(f"    - {_yaml(path)}" for path in paths)]
    for key in CHECKPOINT_KEYS.values():
        if key in values:
            lines.append(f"{key}: {_yaml(values[key])}")
        elif "checkpoints" not in values:
            lines.append(f"# {key}:  # none was named; write its path to compare the two")
    return lines


def _settings_lines(seen: list[Seen], values: dict[str, Any], data: Data | None, job: Job | None) -> list[str]:
    first = seen[0]
    if first.code_base is None:
        beside = first.path.with_name(MODEL_JSON)
        unknown = "# model_config: PATH/model.json  # how text becomes numbers (docs/checkpoints.md)"
        return [
            "",
            "# The class that it was trained with; only this file decides what is imported.",
            '# model: {class: "package.module:Name", args: {}}  # its keyword arguments',
            '# forward: "package.module:function"  # (model, batch) -> scores (B, C); without it, model(batch)',
            f"model_config: {_yaml(str(beside))}" if beside.is_file() else unknown,
        ]
    lines = [""]
    if "model_config" in values:
        found = "" if first.code_base == OURS else "  # found there; it must be what the model was trained with"
        lines.append(f"model_config: {_yaml(values['model_config'])}{found}")
    elif job is None and not (data is None and first.settings):
        lines.append(f"# model_config: PATH  # the settings that {first.code_base} trained it with")
    else:
        lines.append("# model_config: left out, since the checkpoint says what it was trained with:")
        told = ", ".join(f"{key} {value}" for key, value in first.settings.items())
        lines.append(_comment(f"  {told}"))
    return [*lines, f"code_base: {first.code_base}"]


def _data_lines(data: Data | None, values: dict[str, Any]) -> list[str]:
    if data is None:
        return [
            "", "# data_path: FOLDER  # the tree with models/train_clean.csv and so on, or a MIND folder",
            "# news_items_path: FOLDER/news_items.csv  # item_id, title, text",
        ]  # fmt: skip
    lines = ["", *(_comment(f"{name}: {log}") for name, log in data.logs.items())]
    lines += [
        f"{key}: {_yaml(values[key])}" for key in ("data_path", "data_format", "news_items_path") if key in values
    ]
    if "missing_articles" in values:
        lines.append(
            f"missing_articles: {values['missing_articles']}  # as {EBNERD} reads articles that the table lacks"
        )
        lines.append(f"# until: '2023-05-24'  # the day from which on it validated, which {EBNERD}'s scripts choose")
    if "news_items_path" not in values:
        lines.append("# news_items_path:  # found beside the clicks; write a path where the articles lie elsewhere")
    return lines


def _trak_lines(data: Data | None, values: dict[str, Any], job: Job | None) -> list[str]:
    rows = f"{len(job.inputs):,} rows: {_megabytes(job, values):,.1f} MB" if job else "K"
    lines = ["", f"proj_dim: {values['proj_dim']}  # numbers kept of each gradient; {rows}"]
    if "loss" in values:
        lines.append(f"loss: {values['loss']}  # that it was trained with")
    lines += [f"seed: {values['seed']}  # of the sketch, of samples and of drawn negatives"]
    lines += [f"batch_size: {values['batch_size']}  # changes no result", "device: cpu  # or cuda"]
    return [*lines, f"output_dir: {_yaml(values['output_dir'])}"]


def _megabytes(job: Job, values: dict[str, Any]) -> float:
    return len(job.inputs) * len(job.members) * values["proj_dim"] * BYTES / 2**20


def _target_lines(targets: Iterable[tuple[str, Any, str]]) -> list[str]:
    good = [(name, definition) for name, definition, why in targets if not why]
    lines = ["", "# What `rec-trak score --targets NAME` explains."]
    lines += ["targets:", *(f"  {name}: {_yaml(definition)}" for name, definition in good)] if good else [
        "# targets:", "#   mine: recommendations.csv  # a pairwise CSV whose clicks are explained",
    ]  # fmt: skip
    return lines + [_comment(f"  {name}: {_yaml(what)}  # {why}") for name, what, why in targets if why]


def _yaml(value: Any) -> str:
    """The value as YAML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, str) and not (SIMPLE.fullmatch(value) and load_yaml(value) == value):
        return json.dumps(value, ensure_ascii=not value.isprintable())
    return str(value)


def _comment(text: str) -> str:
    return plain(f"# {text}", LINE)
