#!/usr/bin/env bash
# One would guess that a safetensors header holds the shape that the tensor has. Of torch.float4_e2m1fn_x2, two
# numbers a byte, a table of shape (2, 4) stands there as [2, 8], and get_slice says so too, while get_tensor gives
# (2, 4): a check of names and shapes against the model by the header alone refuses the right file. safetensors 0.8.0
# on torch 2.13.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR="$folder"
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 safetensors==0.8.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import json
import os
import tempfile

import safetensors
import safetensors.torch
import torch

print("torch", torch.__version__, "safetensors", safetensors.__version__)
path = os.path.join(tempfile.mkdtemp(), "table.safetensors")
held = torch.arange(8, dtype=torch.uint8).view(2, 4)
table = held.view(torch.float4_e2m1fn_x2)
safetensors.torch.save_file({"words.weight": table, "bytes": held.clone()}, path)
with open(path, "rb") as file:
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
with safetensors.safe_open(path, "pt") as opened:
    part = opened.get_slice("words.weight")
    shapes = {
        "tensor.shape": list(table.shape),
        "the file's header": header["words.weight"]["shape"],
        "get_slice(...).get_shape()": list(part.get_shape()),
        "get_tensor(...).shape": list(opened.get_tensor("words.weight").shape),
    }
back = safetensors.torch.load_file(path)["words.weight"]
for name, shape in shapes.items():
    print(f"{name}: {shape}")
print("header's dtype:", header["words.weight"]["dtype"], "- bytes kept:", torch.equal(back.view(torch.uint8), held))
assert shapes["tensor.shape"] == shapes["get_tensor(...).shape"] == [2, 4]
assert shapes["the file's header"] == shapes["get_slice(...).get_shape()"] == [2, 8]
assert header["bytes"]["shape"] == [2, 4]
begin, end = header["words.weight"]["data_offsets"]
assert end - begin == 8
assert torch.equal(back.view(torch.uint8), held)
PY
