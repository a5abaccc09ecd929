"""What a checkpoint says of itself: its settings, and which kind of model it is. Not here: any code base's keys.

Files say it in several places: in what Lightning pickles beside the weights (read as inert stand-ins), in our
model.json and in the record of a member's training beside a checkpoint, and in names.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rec_trak.checkpoints.rebuild import Inert
from rec_trak.config.analysis import MODEL_TYPES
from rec_trak.config.model import ARCHITECTURES, HABITS_OF, OWN, ModelConfig
from rec_trak.config.reader import build, read_mapping
from rec_trak.errors import CheckpointError, ConfigError, RecTrakWarning
from rec_trak.models.build import read_sizes
from rec_trak.words import quoted

PATHS = re.compile(r"pathlib\.(_local\.)?(Pure)?(Posix|Windows)?Path")
MODEL_JSON = "model.json"
RECORD_KEYS = {"seed", "rows", "rows_of", "settings", "epochs"}  # of the record that training leaves beside a member
NO_SCORE = {"sizes.dropout", "sizes.user_dropout"}  # act in training alone
MISSING = object()


def attributes(value: Any) -> dict[str, Any]:
    """The entries of a mapping, or the attributes of an object, that have text for a name."""
    if isinstance(value, Inert):
        items = [item for item in value.inert_items if isinstance(item, tuple) and len(item) == 2]
        value = {key: inner for key, inner in items if isinstance(key, str)} | value.inert_attributes
    return {k: v for k, v in value.items() if isinstance(k, str)} if isinstance(value, dict) else {}


def path_text(value: Any) -> str | None:
    """The path that a stand-in was; None for anything else."""
    if not isinstance(value, Inert) or not PATHS.fullmatch(value.inert_class):
        return None
    return "/".join(part for part in value.inert_args or () if isinstance(part, str)).replace("//", "/")


def plain_settings(value: Any) -> dict[str, Any]:
    """The settings of a mapping or an object that are text, numbers, true, false, None, paths, or lists of these."""
    made = {key: _plain(inner) for key, inner in attributes(value).items()}
    return {key: inner for key, inner in made.items() if inner is not MISSING}


def _plain(value: Any, depth: int = 0) -> Any:
    path = path_text(value)
    if path is not None:
        return path
    if isinstance(value, Inert):  # omegaconf keeps values in nodes
        inner = next((value.inert_attributes[k] for k in ("_val", "_content") if k in value.inert_attributes), MISSING)
        return inner if inner is MISSING or depth > 5 else _plain(inner, depth + 1)
    if isinstance(value, list | tuple):
        parts = [_plain(part, depth + 1) for part in value] if depth <= 5 else [MISSING]
        return MISSING if MISSING in parts else parts
    return value if value is None or isinstance(value, str | int | float) else MISSING


def check_agreement(
    said: Mapping[str, Any],
    held: Mapping[str, Any],
    keys: Iterable[str],
    files: Iterable[str],
    where: str,
    path: str,
    do: str = "Give the settings that it was trained with, or leave `model_config` out.",
) -> None:
    """Refuse settings that another source contradicts; warn of files that have other names there.

    Args:
        said: what the settings say.
        held: what the checkpoint says.
        keys: those that decide a score.
        files: those that name files, which may lie elsewhere on another machine.
        where: the file of `said`, for messages; the checkpoint itself or another one where there is none.
        path: the checkpoint, or the file beside it that says so.
        do: the advice.

    Raises:
        ConfigError: any of `keys` differs; one message names all, with both values.
    """
    both = [key for key in keys if said.get(key) is not None and held.get(key) is not None]
    wrong = [
        f"`{key}` {_shown(said[key], held[key])} for {_shown(held[key], said[key])}"
        for key in both
        if said[key] != held[key]
    ]
    if wrong:
        raise ConfigError(
            f"{where}: the model was trained with other settings, as {path} says. Got {'; '.join(wrong[:5])}, expected "
            f"them to agree. {do}"
        )
    for key in files:
        names = [Path(str(one[key])).name for one in (said, held) if one.get(key) is not None]
        if len(set(names)) > 1:
            warnings.warn(
                f"{where}: `{key}`: another name than in {path}. Got {said[key]}, the checkpoint was trained with "
                f"{held[key]}: scores are right only if both hold the same.",
                RecTrakWarning,
                stacklevel=3,
            )


def _shown(value: Any, other: Any) -> str:
    """A value; of long lists how many, and the first place where they differ."""
    if not isinstance(value, list | tuple) or not isinstance(other, list | tuple) or len(value) <= 5:
        return quoted(value, 80)
    place = next((i for i, (a, b) in enumerate(zip(value, other, strict=False)) if a != b), min(len(value), len(other)))
    there = quoted(value[place], 40) if place < len(value) else "none"
    return f"{len(value)} with {there} at place {place}"


def flat_config(config: ModelConfig) -> dict[str, Any]:
    """A model configuration of ours as key -> value, every size and habit written out, without what changes no score.

    Raises:
        ConfigError: an unknown or mistyped size.
    """
    own = config.architecture == OWN
    sizes, habits = ({}, ()) if own else (read_sizes(config)[0], HABITS_OF[config.architecture])
    config = config if own else read_sizes(config)[1]
    content = asdict(config)
    texts, layers = content.pop("text"), content.pop("habits")
    flat = {key: value for key, value in content.items() if key not in ("sizes", *(("architecture",) if own else ()))}
    flat |= {f"sizes.{key}": value for key, value in (asdict(sizes) if sizes else {}).items()}
    flat |= {f"sizes.{key}": layers[key] for key in habits} | {f"text.{key}": value for key, value in texts.items()}
    flat["text.pretrained"] = Path(flat["text.pretrained"]).name
    return {key: value for key, value in flat.items() if key not in NO_SCORE}


def check_ours(config: ModelConfig, where: str, checkpoint: str | Path) -> None:
    """Refuse a configuration that the model.json beside a checkpoint, or the record of its training, contradicts.

    Raises:
        ConfigError: one of them says otherwise; see `check_agreement`.
    """
    beside = Path(checkpoint).with_name(MODEL_JSON)
    if beside.is_file() and not (Path(where).is_file() and beside.samefile(where)):
        there = _beside(beside, config.architecture == OWN)
        if there:
            said = flat_config(config)
            check_agreement(said, there, said, (), where, str(beside))
    loss = attributes(attributes(record(checkpoint)).get("settings")).get("loss")
    if isinstance(loss, str):
        check_agreement({"loss": config.loss}, {"loss": loss}, ("loss",), (), where, str(checkpoint))


def _beside(path: Path, own: bool) -> dict[str, Any]:
    """What a model.json says; nothing where it is no model.json of ours, since none was asked for."""
    try:
        mapping = read_mapping(path)
        if own:
            config = build(ModelConfig, mapping | {"architecture": ARCHITECTURES[0], "sizes": {}}, str(path))
            there = flat_config(config)
            return {k: v for k, v in there.items() if k != "architecture" and not k.startswith("sizes.")}
        return flat_config(build(ModelConfig, mapping, str(path)))
    except ConfigError:
        return {}


def record(checkpoint: str | Path) -> dict[str, Any]:
    """The record that our training left beside a member; empty where there is none."""
    path = Path(checkpoint).with_suffix(".json")
    try:
        content = read_mapping(path) if path.is_file() else {}
    except ConfigError:
        return {}
    return content if content.keys() >= RECORD_KEYS else {}


def kind_of(checkpoint: str | Path, settings: Mapping[str, Any]) -> tuple[str | None, str]:
    """`clean` or `poisoned`, None where nothing tells, and what tells it; '' where that is a name alone.

    Args:
        checkpoint: the file.
        settings: what it carries.
    """
    said = settings.get("model_type")
    if said in MODEL_TYPES:
        return said, f"its own settings say `model_type: {said}`"
    name = record(checkpoint).get("name")
    if name in MODEL_TYPES:
        return name, f"{Path(checkpoint).with_suffix('.json')} says `name: {name}`"
    for part in (Path(checkpoint).stem, Path(checkpoint).absolute().parent.name):
        words = set(re.split(r"[^a-z]+", part.lower())) & set(MODEL_TYPES)
        if len(words) == 1:
            return words.pop(), ""
    return None, ""


def check_kind(checkpoint: str | Path, settings: Mapping[str, Any], wanted: str) -> None:
    """Refuse a checkpoint of the other kind; warn where only a name says that it is one.

    Raises:
        CheckpointError: what stands in or beside the file says so.
    """
    kind, why = kind_of(checkpoint, settings)
    if kind in (None, wanted):
        return
    if why:
        raise CheckpointError(
            f"{checkpoint}: a {kind} checkpoint stands where the {wanted} one should. Got one of which {why}, expected "
            f"a {wanted} one. Name the {wanted} checkpoint, or run with `--model_type {kind}`."
        )
    warnings.warn(
        f"{checkpoint}: by its name a {kind} checkpoint, but it is read as the {wanted} one. If that is not meant, "
        f"results are of the wrong model: name the {wanted} checkpoint, or run with `--model_type {kind}`.",
        RecTrakWarning,
        stacklevel=3,
    )
