#!/usr/bin/env bash
# One would guess that `attn_implementation="eager"`, which once let a Hugging Face encoder run under vmap, still
# does. It makes no difference: a mask (rows, tokens), of integers or of bools, stops eager and sdpa alike, since its
# values are looked at, while a ready-made mask (rows, 1, 1, tokens) to be added passes both. transformers 5.24.0 on
# torch 2.13.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR="$folder"
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 transformers==5.24.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import warnings

import torch
import transformers
from torch.func import functional_call, vmap
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

warnings.simplefilter("ignore")
print("torch", torch.__version__, "transformers", transformers.__version__)
titles = torch.tensor([[[5, 6, 7, 0]], [[8, 9, 0, 0]], [[3, 4, 5, 6]]])  # three rows of one title each
MASKS = {
    "(1, tokens) of 0 and 1": lambda ids: (ids != 0).long(),
    "(1, tokens) bool": lambda ids: ids != 0,
    "(1, 1, 1, tokens) added": lambda ids: torch.zeros(ids.shape).masked_fill(ids == 0, -3e38)[:, None, None],
}
sizes = {"vocab_size": 20, "max_position_embeddings": 8}
small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
found = {}
for attention in ("eager", "sdpa"):
    torch.manual_seed(0)
    bert = BertModel(BertConfig(**sizes, **small, attn_implementation=attention), add_pooling_layer=False).eval()
    distil = DistilBertModel(DistilBertConfig(**sizes, dim=8, n_layers=1, n_heads=2, hidden_dim=16)).eval()
    distil.set_attn_implementation(attention)
    for model in (bert, distil):
        parameters = dict(model.named_parameters())
        for name, mask in MASKS.items():

            def f(ids, model=model, parameters=parameters, mask=mask):
                return functional_call(model, parameters, (), {"input_ids": ids, "attention_mask": mask(ids)})[0]

            plain = torch.stack([f(ids) for ids in titles])
            try:
                out = vmap(f)(titles)
                text = "runs" if torch.allclose(out, plain, atol=1e-5) else "other numbers"
            except RuntimeError as error:
                text = " ".join(str(error).split())[:58]
            found[type(model).__name__, attention, name] = text
            print(f"{type(model).__name__}, {attention}, mask {name}: {text}")
for (_, _, name), text in found.items():
    assert (text == "runs") == name.endswith("added"), (name, text)
PY
