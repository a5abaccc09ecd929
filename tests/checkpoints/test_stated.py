"""Laws of the validation AUC that a checkpoint tells: from its name, from the file, from the record beside it."""

import json
from pathlib import PurePosixPath

import pytest
import torch

from rec_trak.checkpoints.files import read_checkpoint_file
from rec_trak.checkpoints.stated import Stated, stated_auc


def lightning(path, monitor="val_auc", **extras):
    """A file as Lightning writes it, scores as tensors in its callbacks."""
    state = {"monitor": monitor, "current_score": torch.tensor(0.625), "best_model_score": torch.tensor(0.75)}
    state["best_k_models"] = {f"/there/{path.name}": torch.tensor(0.5)}
    callbacks = {"EarlyStopping{}": {"patience": 3}, "ModelCheckpoint{}": state}
    torch.save({"state_dict": {"w": torch.ones(2)}, "callbacks": callbacks, **extras}, path)
    return path


@pytest.mark.parametrize(
    ("name", "auc"),
    [
        ("clean-epoch=01-val_auc=0.7052.ckpt", 0.7052),
        ("auc=0.6800-v1.ckpt", 0.68),
        ("model_AUC_0.61.pt", 0.61),
        ("val_auc=1.0000.ckpt", 1.0),
        ("val_auc=1.7.ckpt", None),
        ("auctioned0.5.pt", None),
        ("clean.pt", None),
    ],
)
def test_a_name_tells(name, auc):
    """Law: what stands behind `auc` in a name is the AUC, as long as it can be one."""
    stated = stated_auc(f"runs/{name}", {})
    assert (stated and (stated.auc, stated.where)) == (auc and (auc, "its name"))


@pytest.mark.parametrize("extras", [{}, {"hyper_parameters": PurePosixPath("x")}])
def test_callbacks_tell(tmp_path, extras):
    """Law: the score that Lightning keeps for this file is read, else that of the model it last kept; nothing else of
    the file is run."""
    path = lightning(tmp_path / "a.ckpt", **extras)
    told = read_checkpoint_file(path).extras
    assert stated_auc(path, told) == Stated(0.5, "`best_k_models` in it")
    assert stated_auc("renamed.ckpt", told) == Stated(0.625, "`current_score` in it")
    assert stated_auc("last.ckpt", told) is None
    assert stated_auc(path, read_checkpoint_file(lightning(path, "val/loss", **extras)).extras) is None


def test_a_stopped_training_tells():
    """Law: yusanshi's `early_stop_value` is minus the AUC; what cannot be an AUC is none."""
    assert stated_auc("ckpt-20.pth", {"early_stop_value": -0.5865}) == Stated(0.5865, "`early_stop_value` in it")
    assert stated_auc("ckpt-20.pth", {"early_stop_value": 0.7}) is None
    assert stated_auc("ckpt-20.pth", {"callbacks": ["auc"], "auc": True}) is None


def test_our_record_tells(tmp_path):
    """Law: the best epoch of the record counts; one that does not say that impressions were whole is of drawn ones."""
    record = {"epochs": [{"epoch": 1, "auc": 0.6}, {"epoch": 2, "auc": 0.7}, {"epoch": 3, "auc": 0.65}]}
    path = tmp_path / "clean.pt"
    (tmp_path / "clean.json").write_text(json.dumps(record | {"validation": {"impressions": 3}}))
    assert stated_auc(path, {}, ours=True) == Stated(0.7, "clean.json")
    assert stated_auc(path, {}) is None
    (tmp_path / "clean.json").write_text(json.dumps(record))
    assert stated_auc(path, {}, ours=True).drawn
    for strange in ('{"epochs": [1, {"auc": "x"}]}', "[]", '{"epochs": 3}', "{"):
        (tmp_path / "clean.json").write_text(strange)
        assert stated_auc(path, {}, ours=True) is None
