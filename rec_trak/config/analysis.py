"""The YAML of an analysis (`configs/trak/*.yaml`). Not here: reading what its paths point to."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rec_trak.config.places import matches
from rec_trak.config.reader import build, read_mapping
from rec_trak.config.reading import DATA_FORMATS, MISSING_ARTICLES, TITLES
from rec_trak.config.targets import TargetSet, check_target_set
from rec_trak.disk import absent
from rec_trak.errors import ConfigError, RecTrakWarning
from rec_trak.words import QUOTE, plain, quoted

MODEL_TYPES = ("clean", "poisoned")
CODE_BASES = ("auto", "rec_trak", "plm4newsrs", "yusanshi", "newsreclib", "keras")
DATASET_TYPES = ("train_clean", "train_poisoned")
AUTO = "auto"  # of `lambda_rel`: chosen by the models' margins of left-out rows
UNUSED = frozenset({"tsne_max_samples"})
CHECKPOINT_KEYS = {"clean": "model_checkpoint", "poisoned": "poisoned_model_checkpoint"}


@dataclass(frozen=True)
class AnalysisConfig:
    """Every key of the YAML; docs/config.md says what each means. Paths are relative to the working directory."""

    data_path: str
    output_dir: str
    model_config: str | None = None
    news_items_path: str | None = None
    model_checkpoint: str | None = None
    poisoned_model_checkpoint: str | None = None
    checkpoints: str | list[str] | dict[str, str | list[str]] | None = None
    model_type: str | None = field(default=None, metadata={"choices": ("bert", "glove")})
    code_base: str = field(default="auto", metadata={"choices": CODE_BASES})
    model: dict[str, Any] | None = None
    forward: str | None = None
    tokeniser: str | None = None
    article_ids: str | dict[str, str] | None = None
    expected_scores: str | list[str] | None = None
    data_format: str = field(default="auto", metadata={"choices": DATA_FORMATS})
    rows: str = field(default="as_trained", metadata={"choices": ("as_trained", "per_click")})
    negatives: int = field(default=4, metadata={"least": 1})
    titles: str = field(default="compare", metadata={"choices": TITLES})
    missing_articles: str = field(default="refuse", metadata={"choices": MISSING_ARTICLES})
    least_history: int | None = field(default=None, metadata={"least": 0})
    since: str | None = None
    until: str | None = None
    history_truncation: str | None = field(default=None, metadata={"choices": ("first", "last")})
    loss: str = field(default="softmax", metadata={"choices": ("softmax", "bce", "bpr", "marginal")})
    grad_wrt: str | list[str] | None = None
    proj_dim: int = field(default=2048, metadata={"least": 1})
    projector: str = field(default="auto", metadata={"choices": ("auto", "sketch", "gaussian", "cuda")})
    gradient: str = field(default="auto", metadata={"choices": ("auto", "articles", "factored", "functional", "loop")})
    precision: str = field(default="float32", metadata={"choices": ("float32", "bf16")})
    score: str = field(default="self_influence", metadata={"choices": ("self_influence", "loss_gradient")})
    lambda_rel: float | str = field(default=1.0, metadata={"least": 0.0, "words": (AUTO,)})
    num_models: int | None = field(default=None, metadata={"least": 1})
    top_k: int = field(default=100, metadata={"least": 1})
    sample_size: int | None = field(default=None, metadata={"least": 1})
    seed: int = field(default=0, metadata={"least": 0})
    batch_size: int = field(default=32, metadata={"least": 1})
    memory: float = field(default=2.0, metadata={"least": 0.01})
    device: str = "cpu"
    save_dir: str | None = None
    save_embeddings: bool = False
    targets: dict[str, str | TargetSet] = field(default_factory=dict)


def read_analysis_config(path: str | Path) -> AnalysisConfig:
    """The analysis that a YAML file describes; a YAML of the existing scripts is read unchanged.

    Raises:
        ConfigError: the file is missing or malformed, or any key is wrong; one message names every bad key.
    """
    return analysis_config(read_mapping(path), str(path))


def analysis_config(mapping: dict, where: str = "config") -> AnalysisConfig:
    """The analysis that a mapping describes (the content of such a YAML file).

    Raises:
        ConfigError: any key is unknown, missing or mistyped, `forward` stands without `model`, or a target set says
            too little or too much.
    """
    unused = sorted(UNUSED & mapping.keys())
    if unused:
        names = ", ".join(f"`{key}`" for key in unused)
        warnings.warn(f"{where}: not needed here and left unread: {names}.", RecTrakWarning, stacklevel=2)
    config = build(AnalysisConfig, mapping, where, ignored=UNUSED)
    if config.forward is not None and config.model is None:
        raise ConfigError(
            f"{where}: `forward` needs a model to call. Got {quoted(config.forward)} without `model`, expected both. "
            "Name the class as `model: {class: ...}`."
        )
    for name, wanted in config.targets.items():
        if isinstance(wanted, TargetSet):
            check_target_set(name, wanted, where)
    return config


def checkpoint_paths(config: AnalysisConfig, model_type: str) -> list[Path]:
    """The checkpoints of one model type, one a member, in a fixed order: files, or folders of weights in several files.

    `checkpoints` (a list, a glob, or one of these under `clean` and `poisoned`; `{model_type}` is filled in) goes
    before the single keys of the existing scripts.

    Raises:
        ConfigError: no key gives a checkpoint for this type, a file is missing, or `num_models` asks for more than a
            list or glob gives.
    """
    key = "checkpoints"
    given = config.checkpoints
    if isinstance(given, dict):
        unknown = sorted(given.keys() - set(MODEL_TYPES))
        if unknown or model_type not in given:
            raise ConfigError(
                f"`checkpoints`: no entry for {quoted(model_type)}. Got {quoted(sorted(given))}, expected clean, "
                "poisoned."
            )
        key, given = f"checkpoints.{model_type}", given[model_type]
    single = given is None
    if single:
        key = CHECKPOINT_KEYS[model_type]
        given = getattr(config, key)
        if given is None:
            raise ConfigError(
                f"`{key}`: missing. Got neither it nor `checkpoints`, expected a checkpoint for {model_type}."
            )
    patterns = [given] if isinstance(given, str) else given
    paths = [path for pattern in patterns for path in _matches(pattern.replace("{model_type}", model_type), key)]
    repeated = len(paths) - len(set(paths))
    if repeated:
        raise ConfigError(f"`{key}`: {repeated} file(s) named twice. Got {len(paths)}, expected different checkpoints.")
    return _first(paths, config.num_models, single, key)


def _matches(pattern: str, key: str) -> list[Path]:
    found = matches(pattern)
    if not found:
        got = plain(pattern, QUOTE)
        raise ConfigError(f"`{key}`: {absent(pattern)}. Got {got}, expected a checkpoint. Mend the path.")
    return found


def _first(paths: list[Path], wanted: int | None, single: bool, key: str) -> list[Path]:
    if wanted is None or wanted <= len(paths):
        return paths[:wanted]
    message = f"`num_models`: more than there are. Got {wanted}, expected at most {len(paths)} (from `{key}`)."
    if not single:
        raise ConfigError(f"{message} Name more checkpoints, or lower `num_models`.")
    warnings.warn(f"{message} Going on with {len(paths)}.", RecTrakWarning, stacklevel=3)
    return paths
