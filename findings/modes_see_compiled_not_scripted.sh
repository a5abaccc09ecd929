#!/usr/bin/env bash
# One would guess that whoever watches torch functions with a TorchFunctionMode loses sight of what is compiled. Of a
# module under torch.compile it sees every layer, even where it was compiled before anybody watched; of a scripted or
# traced one it sees nothing; of an exported one, operators by other names. torch 2.13.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR="$folder"
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

warnings.simplefilter("ignore")
print("torch", torch.__version__)


class Watch(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append(getattr(func, "__name__", str(func)))
        return func(*args, **(kwargs or {}))


torch.manual_seed(0)
net, x = nn.Sequential(nn.Linear(4, 3), nn.Tanh()).eval(), torch.randn(2, 4)
forms = {
    "plain": net,
    "torch.compile, backend eager": torch.compile(net, backend="eager"),
    "torch.compile, backend aot_eager": torch.compile(net, backend="aot_eager"),
    "torch.jit.trace": torch.jit.trace(net, x),
    "torch.jit.script": torch.jit.script(net),
    "torch.export": torch.export.export(net, (x,)).module(),
}
found = {}
for name, form in forms.items():
    form(x)  # compiled before anybody watches
    with Watch() as watch:
        out = form(x)
    assert torch.allclose(out, net(x))
    found[name] = sorted({name for name in watch.seen if "linear" in name})
    print(f"{name}: the mode sees of the linear layer: {found[name] or 'nothing'}")
for name, seen in found.items():
    assert seen == ([] if name.startswith("torch.jit") else ["linear.default"] if "export" in name else ["linear"])
PY
