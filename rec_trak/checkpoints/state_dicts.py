"""Weights on disk: read, fitted to a model, written. Not here: file formats, and names of other code bases.

A folder of checkpoints that training wrote holds one `model.json` that says what all of them are.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor, nn

from rec_trak.checkpoints.files import read_checkpoint_file
from rec_trak.checkpoints.fitting import Fit, fit
from rec_trak.config.model import ModelConfig, read_model_config
from rec_trak.disk import replacing
from rec_trak.errors import CheckpointError, ConfigError


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Parameter name -> tensor on the CPU, from a file of any format that `read_checkpoint_file` knows.

    Raises:
        CheckpointError: as `read_checkpoint_file`.
    """
    return read_checkpoint_file(path).state


def load_into(model: nn.Module, state_dict: dict[str, Tensor], where: str) -> Fit:
    """Copy a file's tensors into `model`, whatever wrapper's prefix their names have; gives what went where.

    Nothing is changed unless all that the model needs is there and fits.

    Args:
        model: what build_model made.
        state_dict: parameter name -> tensor.
        where: the file they came from, for messages.

    Raises:
        CheckpointError: as `fit`: keys are missing, unexpected or of another shape (one message lists them), or a
            tensor holds NaN or Inf once it has the model's number format.
    """
    fitted = fit(model, state_dict, where)
    model.load_state_dict(fitted.state(state_dict))
    return fitted


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameter name -> tensor on the CPU."""
    return {name: value.detach().cpu() for name, value in model.state_dict().items()}


def save_weights(path: str | Path, model: nn.Module) -> None:
    """Write the model's state_dict into a file; equal weights give equal bytes.

    Raises:
        OSError, RuntimeError: the file cannot be written; torch reports a full disk as a RuntimeError.
    """
    with open(path, "wb") as file:  # given a path, torch writes its name into the file, that of a temporary one too
        torch.save(weights_of(model), file)


def write_state_dict(path: str | Path, model: nn.Module) -> None:
    """Write the model's state_dict, on the CPU, so that `path` holds either all of it or what it held before.

    Raises:
        CheckpointError: the file cannot be written.
    """
    path = Path(path)
    try:
        with replacing(path) as temporary:
            save_weights(temporary, model)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error}). Free some space or give another folder."
        ) from error


def check_model_config(path: str | Path, config: ModelConfig) -> None:
    """Make sure that the file, if there is one, describes the same model as `config`.

    Raises:
        ConfigError: it describes another model, or cannot be read.
    """
    if not Path(path).exists():
        return
    there = read_model_config(path)
    different = [f.name for f in dataclasses.fields(config) if getattr(there, f.name) != getattr(config, f.name)]
    if different:
        raise ConfigError(
            f"{path}: another model's checkpoints stand in this folder. Got one that differs in "
            f"{', '.join(f'`{name}`' for name in different)}, expected the same for all. Give another folder, or build "
            f"clean and poisoned models from one vocabulary and one list of users."
        )


def write_model_config(path: str | Path, config: ModelConfig) -> None:
    """Write the configuration of a folder's checkpoints, unless it stands there already.

    Raises:
        ConfigError: as `check_model_config`.
    """
    path = Path(path)
    check_model_config(path, config)
    if not path.exists():
        config.write(path)
