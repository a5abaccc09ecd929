"""An analysis of plm4newsrs checkpoints as its users have it. Not here: tests."""

import json
import sys
import types
from unittest import mock

import torch

from support import tiny
from support.plm4newsrs import SETTINGS, nrms_state

VECTORS = "".join(f"{word} {' '.join(str(0.1 * (i + j)) for j in range(8))}\n" for i, word in enumerate(tiny.WORDS))


def write_theirs(folder, members: int = 1, state=nrms_state, **changes):
    """`members` checkpoints with plm4newsrs' names, a settings file and word vectors, in `folder`."""
    (folder / "theirs").mkdir(parents=True, exist_ok=True)
    for i in range(members):
        torch.manual_seed(i)
        torch.save({"state_dict": state()}, folder / "theirs" / f"clean_{i}.ckpt")
    (folder / "glove.txt").write_text(VECTORS)
    (folder / "theirs" / "m.yaml").write_text(json.dumps(SETTINGS | {"num_attention_heads": 4} | changes))
    return folder / "theirs"


def save_carrying(path, state, **settings):
    """A checkpoint whose configuration Lightning pickled beside the weights, of a class that nobody can import."""
    module = types.ModuleType("configs.models")
    module.Config = type("Config", (), {"__module__": module.__name__})
    config = module.Config()
    config.__dict__.update(settings)
    with mock.patch.dict(sys.modules, {module.__name__: module, "configs": types.ModuleType("configs")}):
        torch.save({"state_dict": state, "hyper_parameters": {"config": config}}, path)
