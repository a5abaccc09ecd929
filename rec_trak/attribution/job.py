"""Everything one attribution needs, read and checked before anything is written. Not here: gradients or scores."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rec_trak.attribution.digests import state_digest
from rec_trak.attribution.rows import read_input
from rec_trak.checkpoints.fitting import Fit
from rec_trak.checkpoints.names import warn_of_rest
from rec_trak.checkpoints.source import ModelSource
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.clicks import expand
from rec_trak.config.analysis import AnalysisConfig, checkpoint_paths
from rec_trak.config.model import ModelConfig
from rec_trak.config.reading import Reading
from rec_trak.data.articles import Articles
from rec_trak.data.coverage import Coverage, check_coverage, coverage
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs, build_inputs
from rec_trak.data.places import plain_name
from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError, RecTrakWarning
from rec_trak.gradients.computers import select_parameters
from rec_trak.models.build import build_model
from rec_trak.models.formats import in_float32, warn_of_formats
from rec_trak.models.frozen import remembering
from rec_trak.models.tables import standing_still
from rec_trak.sketch.projectors import choose_projector
from rec_trak.store.manifest import digest, read_manifest
from rec_trak.words import outline

SETTINGS = ("loss", "proj_dim", "projector", "seed", "gradient", "precision", "batch_size", "memory", "lambda_rel")


@dataclass(frozen=True)
class Run:
    """One analysis as a user names it.

    Attributes:
        config: the YAML, flags already put in.
        dataset_type: `train_clean` or any other data set of the tree, or the path of a click log.
        model_type: `clean` or `poisoned`, the checkpoint.
        flags: keys that were given as flags; a number beyond the data is refused there and clipped in the YAML.
    """

    config: AnalysisConfig
    dataset_type: str
    model_type: str
    flags: frozenset[str] = frozenset()

    @property
    def folder(self) -> Path:
        """Where the results go."""
        return Path(self.config.output_dir) / f"{self.model_type}_{plain_name(self.dataset_type)}"

    @property
    def save_dir(self) -> Path:
        """Where the projected gradients go."""
        return Path(self.config.save_dir) if self.config.save_dir else self.folder / "store"


@dataclass(frozen=True)
class Member:
    """One checkpoint of the ensemble: a file and where it comes from, or a state dict in memory.

    Attributes:
        name: the file.
        digest: identifies the tensors that the model takes from it, and those that it lacks.
        origin: its source, or the state dict itself.
        fit: which of the origin's tensors go where; None where their names are the model's.
    """

    name: str
    digest: str
    origin: ModelSource | dict[str, Tensor]
    fit: Fit | None = None

    __repr__ = outline

    @property
    def code_base(self) -> str:
        """Whose checkpoint it is; '' of a state dict in memory."""
        return "" if isinstance(self.origin, dict) else self.origin.code_base

    def state_dict(self) -> dict[str, Tensor]:
        """The model's tensors; read anew each time, so that only one member is in memory."""
        state = self.origin if isinstance(self.origin, dict) else self.origin.state_dict(self.name)
        return state if self.fit is None else self.fit.state(state)


@dataclass(frozen=True)
class Job:
    """What is featurized, with what, into which directory.

    Attributes:
        articles, impressions: the tables; impressions are what rankings speak of (I of them).
        inputs: N rows to featurize. A loss on single candidates makes several rows of one impression.
        impression_of_row: (N,) int64.
        model, model_config: in eval mode on `device`; its weights are those of whichever member was loaded last.
        members: one a checkpoint; model id = position.
        grad_wrt: names of the parameters to differentiate, in the model's order.
        loss, proj_dim, projector, seed, gradient, precision, batch_size, device, lambda_rel, memory: as in the
            configuration; what scores takes a `lambda_rel` of `auto` through `settled.settled` first.
        save_dir: the store.
        reading: how the click log was read.
        coverage: how much of the rows the model's dictionaries know.
    """

    articles: Articles
    impressions: Impressions
    inputs: Inputs
    impression_of_row: np.ndarray
    model: nn.Module
    model_config: ModelConfig
    members: tuple[Member, ...]
    grad_wrt: list[str]
    loss: str
    proj_dim: int
    projector: str
    seed: int
    gradient: str
    precision: str
    batch_size: int
    device: str
    lambda_rel: float | str
    save_dir: Path
    reading: Reading = field(default_factory=Reading)
    coverage: tuple[Coverage, ...] = ()
    memory: float = 2.0

    __repr__ = outline

    @property
    def parameter_count(self) -> int:
        """How many numbers are differentiated."""
        sizes = {name: p.numel() for name, p in self.model.named_parameters()}
        return sum(sizes[name] for name in self.grad_wrt)

    @property
    def histories(self) -> Ragged:
        """What the model reads of each impression's history, padding included."""
        rows = self.inputs.impressions.history
        if len(rows) == len(self.impressions):
            return rows
        return rows.subset(np.searchsorted(self.impression_of_row, np.arange(len(self.impressions))))


def read_job(run: Run) -> Job:
    """The job that a run names: every file read, every setting checked, nothing written.

    Raises:
        ConfigError, DataError, CheckpointError, NumericalError: whatever is wrong with the input.
    """
    config = run.config
    device = choose_device(config.device, asked_for="device" in run.flags)
    paths = checkpoint_paths(config, run.model_type)
    read = read_input(config, run.dataset_type, config.model_config, paths[0], "sample_size" in run.flags)
    model_config, source = read.model_config, read.source
    if config.loss != model_config.loss:
        warnings.warn(
            f"`loss`: the model was trained with {model_config.loss!r}. Got {config.loss!r}: influence is then on "
            "another loss than the one that taught the model.",
            RecTrakWarning,
            stacklevel=2,
        )
    model = standing_still(in_float32(build_model(model_config), "`model`"), "`model`").to(device).eval()
    members = tuple(_member(path, model, source, run.model_type) for path in paths)
    further = {key: getattr(config, key) for key in SETTINGS} | {"reading": read.reading}
    return make_job(
        read.articles, read.impressions, model, model_config, members, run.save_dir, device, config.grad_wrt, **further
    )


def make_job(
    articles: Articles,
    impressions: Impressions,
    model: nn.Module,
    model_config: ModelConfig,
    members: tuple[Member, ...],
    save_dir: Path,
    device: str,
    grad_wrt: str | list[str] | None,
    **settings: Any,
) -> Job:
    """A job from tables and a model that are already in memory; `settings` are the remaining fields of `Job`."""
    alone = replace(impressions, columns={}, origin=None)  # no row of a loss is asked for its impression's columns
    rows, impression_of_row = expand(alone, settings["loss"])
    held = read_manifest(save_dir)
    projector = choose_projector(
        settings.pop("projector"), held and held["features"]["projector"], device, settings["proj_dim"]
    )
    covered = coverage(rows, articles, model_config)
    check_coverage(covered, model_config)
    names, inputs = select_parameters(model, grad_wrt), build_inputs(rows, articles, model_config)
    return Job(
        articles=articles,
        impressions=impressions,
        inputs=inputs,
        impression_of_row=impression_of_row,
        model=remembering(model, inputs, names, device),
        model_config=model_config,
        members=members,
        grad_wrt=names,
        projector=projector,
        device=device,
        save_dir=save_dir,
        coverage=covered,
        **settings,
    )


def _member(path: Path, model: nn.Module, source: ModelSource, kind: str) -> Member:
    """A checkpoint that was loaded once, so that a file that does not fit is refused before anything is written."""
    state = source.checked_state_dict(path, kind)
    fitted = load_into(model, state, str(path))
    state = fitted.state(state)
    warn_of_rest(fitted.rest, str(path))
    warn_of_formats(state.values(), str(path))
    return Member(str(path), state_digest(state), source, fitted)


def choose_device(wanted: str, asked_for: bool) -> str:
    """`cpu`, or `cuda` where there is one. A YAML written for a GPU machine runs on the CPU with a warning.

    Raises:
        ConfigError: an unknown device, or CUDA asked for by a flag where there is none.
    """
    if wanted not in ("cpu", "cuda", "auto") and not wanted.startswith("cuda:"):
        raise ConfigError(f"`device`: unknown. Got {wanted!r}, expected cpu, cuda, cuda:N or auto.")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        if asked_for:
            raise ConfigError("--device: no CUDA here. Got cuda, expected cpu on this machine. Leave the flag out.")
        warnings.warn("`device`: no CUDA on this machine. Got cuda, going on with cpu.", RecTrakWarning, stacklevel=3)
        return "cpu"
    return wanted


def fingerprint(job: Job) -> dict[str, Any]:
    """All that changes a projected gradient, as rec_trak.json records and compares it."""
    rows = job.inputs.impressions
    clicked = rows.clicked
    return {
        "features": {
            "row_count": len(rows),
            "rows": digest(list(rows.user_ids), rows.history.values, rows.history.offsets, clicked, job.inputs.users),
            "negatives": digest(rows.candidates.values, rows.candidates.offsets, rows.labels.values),
            "articles": digest(
                list(job.articles.ids), *(p for v in sorted(job.inputs.views) for p in (v, job.inputs.views[v]))
            ),
            "model_config": digest(job.model_config.recorded()),
            "loss": job.loss,
            "grad_wrt": job.grad_wrt,
            "projector": job.projector,
            "proj_dim": job.proj_dim,
            "projector_seed": job.seed,
            "precision": job.precision,
            "dtype": "float32",
        },
        "models": {str(i): member.digest for i, member in enumerate(job.members)},
        "names": {str(i): member.name for i, member in enumerate(job.members)},
    }


def versions() -> dict[str, str]:
    """The versions that a result was made with."""
    packages = ("rec-trak", "traker", "torch", "numpy", "pandas")
    return {"python": sys.version.split()[0]} | {name: version(name) for name in packages}
