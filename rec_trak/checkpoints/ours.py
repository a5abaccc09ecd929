"""The names of our own models' parameters: which architecture a file is of. Not here: other code bases' names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rec_trak.checkpoints.names import common_prefix, is_counter, under

OUR_PARTS = frozenset(  # the first parts of all names that our models can have
    {
        "word_embedding", "title_self_attention", "title_attention", "title_encoder", "text_encoders", "topic_encoders",
        "topic_embeddings", "view_attention", "user_self_attention", "user_attention", "user_embedding", "user_dense",
        "gru",
    }
)  # fmt: skip
OUR_HALLMARKS = {  # the first whose names are all there decides
    "nrms": {"title_self_attention.w_q.weight", "user_self_attention.w_q.weight"},
    "lstur": {"gru.weight_ih_l0", "title_encoder.attention.query.weight"},
    "naml": {"user_attention.query.weight"},
}


def recognise_ours(state: Mapping[str, Tensor]) -> tuple[str | None, dict[str, Tensor], tuple[str, ...]]:
    """The architecture of ours that has such names, its tensors without a wrapper's prefix, and the other names.

    None, nothing and nothing where the names are not ours.
    """
    for architecture, marks in OUR_HALLMARKS.items():
        prefix = common_prefix(state, marks)
        if all(f"{prefix}{mark}" in state for mark in marks):
            own = {name: tensor for name, tensor in under(state, prefix).items() if name.split(".")[0] in OUR_PARTS}
            return architecture, own, tuple(n for n in state if n.removeprefix(prefix) not in own and not is_counter(n))
    return None, {}, ()
