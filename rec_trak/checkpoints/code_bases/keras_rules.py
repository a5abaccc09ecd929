"""recommenders' Keras weights as rules, one for each of our parameters. Not here: settings, or which model it is.

Names are `<kind of layer>.<place among its kind>.<weight>`, as `keras.py` makes them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rec_trak.checkpoints.code_bases.tables import Rule
from rec_trak.checkpoints.code_bases.turns import dims, transposed, word_rows


def nrms_rules() -> list[Rule]:
    """Of NRMS."""
    rules = [Rule("word_embedding.weight", "embedding.0.embeddings", word_rows)]
    for i, ours in enumerate(("title", "user")):
        for part in "qkv":
            rule = (f"{ours}_self_attention.w_{part}.weight", f"self_attention.{i}.W{part.upper()}")
            rules.append(Rule(*rule, transposed))
        rules += _attention(f"{ours}_attention", i)
    return rules


def naml_rules() -> list[Rule]:
    """Of NAML."""
    rules = [Rule("word_embedding.weight", "embedding.0.embeddings", word_rows)]
    for i, view in enumerate(("title", "body")):
        rules += _convolution(f"text_encoders.{view}", i)
    for i, view in enumerate(("category", "subcategory")):
        rules.append(Rule(f"topic_encoders.{view}.embedding.weight", f"embedding.{i + 1}.embeddings", dims(2)))
        rules += _dense(f"topic_encoders.{view}.dense", i)
    return [*rules, *_attention("view_attention", 2), *_attention("user_attention", 3)]


def lstur_rules(after: bool, con: bool) -> list[Rule]:
    """Of LSTUR; `after`: its GRU is Keras 2's; `con`: a dense layer joins both vectors of a user."""
    rules = [
        Rule("word_embedding.weight", "embedding.0.embeddings", word_rows),
        Rule("user_embedding.weight", "embedding.1.embeddings", dims(2)),
        *_convolution("title_encoder", 0),
    ]
    if after:
        rules += [
            Rule("gru.weight_ih_l0", "gru.0.kernel", lambda kernel: _reset_first(transposed(kernel))),
            Rule("gru.weight_hh_l0", "gru.0.recurrent_kernel", lambda kernel: _reset_first(transposed(kernel))),
            Rule("gru.bias_ih_l0", "gru.0.bias", lambda bias: _reset_first(dims(2)(bias)[0])),
            Rule("gru.bias_hh_l0", "gru.0.bias", lambda bias: _reset_first(dims(2)(bias)[1])),
        ]
    else:
        rules += [
            Rule("gru.inputs.weight", "gru.0.kernel", transposed),
            Rule("gru.inputs.bias", "gru.0.bias", dims(1)),
            Rule("gru.gates.weight", "gru.0.recurrent_kernel", _blocks(slice(0, 2))),
            Rule("gru.new.weight", "gru.0.recurrent_kernel", _blocks(slice(2, 3))),
        ]
    return rules + (_dense("user_dense", 0) if con else [])


def _blocks(which: slice) -> Callable[[Tensor], Tensor]:
    """Some of the three gates, update, reset and new, that stand side by side."""
    return lambda tensor: transposed(tensor).unflatten(0, (3, -1))[which].flatten(0, 1)


def _reset_first(tensor: Tensor) -> Tensor:
    """The gates in torch's order, reset, update and new."""
    return tensor.unflatten(0, (3, -1))[torch.tensor([1, 0, 2])].flatten(0, 1)


def _attention(ours: str, i: int) -> list[Rule]:
    return [
        Rule(f"{ours}.projection.weight", f"att_layer2.{i}.W", transposed),
        Rule(f"{ours}.projection.bias", f"att_layer2.{i}.b", dims(1)),
        Rule(f"{ours}.query.weight", f"att_layer2.{i}.q", transposed),
    ]


def _convolution(ours: str, i: int) -> list[Rule]:
    return [
        Rule(f"{ours}.conv.weight", f"conv1d.{i}.kernel", lambda kernel: dims(3)(kernel).permute(2, 1, 0)),
        Rule(f"{ours}.conv.bias", f"conv1d.{i}.bias", dims(1)),
        *_attention(f"{ours}.attention", i),
    ]


def _dense(ours: str, i: int) -> list[Rule]:
    return [
        Rule(f"{ours}.weight", f"dense.{i}.kernel", transposed),
        Rule(f"{ours}.bias", f"dense.{i}.bias", dims(1)),
    ]
