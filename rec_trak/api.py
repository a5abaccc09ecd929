"""The Python names that users of the existing analysis module type. Not here: anything the scripts could not do too."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from rec_trak.attribution.digests import state_digest
from rec_trak.attribution.influence import self_influence
from rec_trak.attribution.job import SETTINGS, Member, choose_device, make_job
from rec_trak.attribution.rows import as_asked, read_input, read_rows
from rec_trak.attribution.session import featurize
from rec_trak.checkpoints.names import warn_of_rest
from rec_trak.checkpoints.source import read_settings, read_source
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.config.analysis import (
    CHECKPOINT_KEYS,
    MODEL_TYPES,
    AnalysisConfig,
    analysis_config,
    checkpoint_paths,
    read_analysis_config,
)
from rec_trak.config.model import ModelConfig
from rec_trak.data.articles import Articles
from rec_trak.data.batches import Batch, unique_batch
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs, build_inputs
from rec_trak.data.own_tokens import is_own
from rec_trak.errors import ConfigError
from rec_trak.models.build import build_model
from rec_trak.models.formats import in_float32, warn_of_formats
from rec_trak.models.own import as_own
from rec_trak.models.tables import standing_still
from rec_trak.results.files import write_results
from rec_trak.results.histories import ARTICLES, articles_table, read_ids
from rec_trak.results.nothing import carry_nothing
from rec_trak.results.ranking import HISTORY_READ
from rec_trak.store.reading import read_member

NO_ARTICLES = Articles((), (), (), (), (), np.zeros(0, dtype=np.int8), "no articles")


@dataclass(frozen=True)
class RowLoader:
    """The training rows, in the order of all scores; iterating gives `Batch` tuples.

    Attributes:
        impressions, articles: the tables the rows came from.
        inputs: one entry an impression.
        model_config: how articles become integers.
        config: the analysis it was loaded for.
    """

    impressions: Impressions
    articles: Articles
    inputs: Inputs
    model_config: ModelConfig
    config: AnalysisConfig

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.config.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.inputs), self.config.batch_size):
            yield unique_batch(self.inputs, np.arange(start, min(start + self.config.batch_size, len(self.inputs))))


def load_model(
    checkpoint_path: str | Path,
    config_path: str | Path | None = None,
    device: str = "cpu",
    articles: Articles | None = None,
    analysis: AnalysisConfig | Mapping[str, Any] | str | Path | None = None,
) -> nn.Module:
    """The model of a checkpoint, in eval mode.

    Args:
        checkpoint_path: a state dict as scripts/train.py writes it, or another code base's checkpoint.
        config_path: the model.json beside it, or that code base's settings file; None where the model.json stands
            beside it, or the checkpoint itself says what it was trained with.
        device: cpu or cuda.
        articles: needed where neither file holds the vocabulary (plm4newsrs with GloVe vectors): those of the rows
            that the model will read, `RowLoader.articles`.
        analysis: the YAML's path, its content, or read, whose `model`, `forward` and `tokeniser` say what a class of
            your own is; its `model_config` counts where `config_path` is None. What comes back takes a `Batch`.

    Raises:
        CheckpointError: the file is no checkpoint, or of another architecture.
        ConfigError: the configuration is wrong, or `articles` are needed.
    """
    asked = None if analysis is None else _analysis(analysis)
    config_path = asked.model_config if asked and config_path is None else config_path
    settings = read_settings(config_path, asked and asked.model, asked and asked.forward, checkpoint_path)
    where = None if config_path is None else str(config_path)
    code_base = "auto" if asked is None else asked.code_base
    source = read_source(settings, where, code_base, checkpoint_path, articles or NO_ARTICLES)
    config = source.config if asked is None else as_asked(asked, source.config, source.code_base)
    text = config.text
    if articles is None and "title" in config.views and not (text.words or text.pretrained or is_own(text.tokeniser)):
        raise ConfigError(
            "load_model: this model's vocabulary is made of the articles' words. Got no `articles`, expected those of "
            "the rows. Call load_train_data first and pass its loader's `articles`."
        )
    model = build_model(config)
    state = source.checked_state_dict(checkpoint_path)
    warn_of_rest(load_into(model, state, str(checkpoint_path)).rest, str(checkpoint_path))
    warn_of_formats(state.values(), str(checkpoint_path))
    return model.to(choose_device(device, asked_for=False)).eval()


def load_train_data(
    config: AnalysisConfig | Mapping[str, Any] | str | Path,
    model_config: ModelConfig | str | Path | None = None,
    dataset_type: str = "train_clean",
) -> tuple[Impressions, RowLoader]:
    """The training rows of a data set, and a loader over them in the same order.

    Args:
        config: the analysis, as the YAML's path, its content, or read.
        model_config: the path of the model.json (or of another code base's settings), or the model.json read; None
            means the path in `config`, or what a checkpoint that it names says.
        dataset_type: `train_clean`, any other data set of the tree, or the path of a click log.

    Raises:
        ConfigError, DataError, CheckpointError: whatever is wrong with the input.
    """
    config = _analysis(config)
    path = config.model_config if model_config is None else model_config
    settings = path
    if not isinstance(path, ModelConfig):
        path = None if path is None else str(path)
        settings = read_settings(path, config.model, config.forward, _any_checkpoint(config) if path is None else None)
    if isinstance(settings, ModelConfig):
        articles, impressions = read_rows(config, dataset_type, asked_for=False)
        model_config = as_asked(config, settings)
    else:  # another code base's, whose checkpoints say what they are, and which rows it trains on
        read = read_input(config, dataset_type, path, _any_checkpoint(config))
        articles, impressions, model_config = read.articles, read.impressions, read.model_config
    inputs = build_inputs(impressions, articles, model_config)
    return impressions, RowLoader(impressions, articles, inputs, model_config, config)


def _analysis(config: AnalysisConfig | Mapping[str, Any] | str | Path) -> AnalysisConfig:
    if isinstance(config, (str, Path)):
        return read_analysis_config(config)
    return analysis_config(dict(config)) if isinstance(config, Mapping) else config


def _any_checkpoint(config: AnalysisConfig) -> Path:
    """One of those that the analysis names: all of them have the same settings."""
    given = config.checkpoints or {kind: getattr(config, key) for kind, key in CHECKPOINT_KEYS.items()}
    kinds = [kind for kind in MODEL_TYPES if not isinstance(given, dict) or given.get(kind)]
    return checkpoint_paths(config, kinds[0] if kinds else MODEL_TYPES[0])[0]


class TRAKScorer:
    """Self-influence of training clicks for one model in memory.

    Args:
        model: as `load_model` gives it, or of the class of your own that the loader's YAML names, which its `forward`
            calls; one in bfloat16 or float16 is copied and run in float32, with a warning.
        device: cpu or cuda; cuda without a CUDA device warns and goes on with the CPU.
        proj_dim: numbers kept of each gradient (K).
        num_models: 1; an ensemble needs its checkpoints, which the YAML names.
        save_dir: projected gradients and results go here, and are reused from here.
    """

    def __init__(
        self,
        model: nn.Module,
        device: str = "cuda",
        proj_dim: int = 512,
        num_models: int = 1,
        save_dir: str | Path = "./trak_results",
    ) -> None:
        if num_models != 1:
            raise ConfigError(
                f"TRAKScorer: one model in memory is one member. Got `num_models` {num_models}, expected 1. "
                "Name the checkpoints in the YAML and run scripts/analyze.py."
            )
        self.device = choose_device(device, asked_for=False)
        self.model = standing_still(in_float32(model, "TRAKScorer"), "TRAKScorer").to(self.device).eval()
        self.proj_dim = proj_dim
        self.save_dir = Path(save_dir)

    def score_samples(self, train_loader: RowLoader) -> dict[str, np.ndarray]:
        """Scores of every training impression.

        Returns:
            `scores` (I,), `labels` (I,) 1 fake, 0 real, -1 unknown, `gradients` (N, K) projected, `leverage` and
            `q` (I,), `nothing` (I,) bool, the rows that carry nothing (their score is 0).

        Raises:
            StoreError: `save_dir` holds another run's gradients.
            NumericalError: a gradient is not finite.
            ConfigError: the model is not of the class that the loader's YAML names.
        """
        config = train_loader.config
        model = self.model if config.model is None else as_own(self.model, config.model, config.forward)
        state = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        job = make_job(
            train_loader.articles,
            train_loader.impressions,
            model,
            train_loader.model_config,
            (Member("model in memory", state_digest(state), state),),
            self.save_dir / "store",
            self.device,
            config.grad_wrt,
            **{key: getattr(config, key) for key in SETTINGS} | {"proj_dim": self.proj_dim},
        )
        featurize(job)
        result = self_influence(job, config.score)
        return {
            "scores": result.scores,
            "labels": np.asarray(train_loader.impressions.is_fake, dtype=np.int64),
            "gradients": read_member(job.save_dir, 0)[0],
            "leverage": result.leverage,
            "q": result.q,
            "nothing": result.nothing,
        }


def compute_trak_scores(
    model: nn.Module,
    train_loader: RowLoader,
    device: str = "cuda",
    proj_dim: int = 512,
    save_dir: str | Path = "./trak_results",
) -> dict[str, np.ndarray]:
    """Scores of every training impression (see `TRAKScorer.score_samples`), also written to `save_dir`.

    Raises:
        StoreError: `save_dir` holds another run's gradients.
        NumericalError: a gradient is not finite.
    """
    scorer = TRAKScorer(model, device, proj_dim, save_dir=save_dir)
    results = scorer.score_samples(train_loader)
    config = train_loader.config
    write_results(
        scorer.save_dir,
        results["scores"],
        train_loader.impressions,
        train_loader.articles,
        min(config.top_k, len(results["scores"])),
        {"config": dataclasses.asdict(config), "proj_dim": proj_dim, "model": train_loader.model_config.told()}
        | carry_nothing(results["nothing"]),
        extra={HISTORY_READ: read_ids(train_loader.inputs.impressions.history, train_loader.articles)},
        gradients=results["gradients"],
        tables={ARTICLES: articles_table(train_loader.impressions, train_loader.articles)},
    )
    return results
