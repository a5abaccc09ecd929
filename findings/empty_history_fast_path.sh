#!/usr/bin/env bash
# One would guess that `torch.no_grad()` changes no value, and that a mode that only passes calls on changes none
# either. In eval mode without gradients, attention over a user who has read nothing is NaN where it is finite with
# gradients, and an encoder gives zeros at padded places; an idle TorchFunctionMode brings the numbers with gradients
# back. torch 2.13.0, `nn.MultiheadAttention` and `nn.TransformerEncoder` (their fast path; torch.backends.mha
# switches it off).
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
torch.manual_seed(0)
histories = torch.randn(3, 4, 8)  # three users, four places
nobody = torch.tensor([[False] * 4, [False, False, True, True], [True] * 4])  # the third has read nothing
attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1).eval()


class Idle(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def attend():
    return attention(histories, histories, histories, key_padding_mask=nobody, need_weights=False)[0]


def encode():
    return encoder(histories, src_key_padding_mask=nobody)


def said(run):
    try:
        out = run()
    except RuntimeError as error:
        return f"RuntimeError: {str(error).split('.')[0][:70]}", None
    parts = [("finite" if part.isfinite().all() else "NaN") for part in out]
    return f"users: {', '.join(parts)}; second user's padded places: {out[1, 2:].abs().sum():.3f}", out


print("torch", torch.__version__)
found = {}
for name, run in (("attention", attend), ("encoder", encode)):
    with torch.enable_grad():
        found[name, "grad"] = said(run)
    with torch.no_grad():
        found[name, "no_grad"] = said(run)
        with Idle():
            found[name, "no_grad, an idle mode"] = said(run)
for key, (text, _) in found.items():
    print(*key, "-", text)
for name in ("attention", "encoder"):
    plain, watched = found[name, "grad"][1], found[name, "no_grad, an idle mode"][1]
    assert plain.isfinite().all()
    assert torch.allclose(plain, watched, atol=1e-6)
    other = found[name, "no_grad"][1]
    assert other is None or not torch.allclose(plain, other, atol=1e-3, equal_nan=True)
assert found["attention", "no_grad"][1][2].isnan().all()
PY
