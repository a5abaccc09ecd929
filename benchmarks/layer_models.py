"""One own model for each kind of layer, and rows for them, as layers.py and its test look at them. Not here: looking.

Each model reads titles with the layer, means over words, reads histories with a second such layer, means over
articles, and scores by dot products. A layer takes x (N, L, D) and a mask (N, L), and gives (N, L, D).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rec_trak.data.batches import Batch
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import Ragged

D, WORDS, TITLE = 8, 30, 5
KINDS = ("full rows", "a row without history", "titles of one word", "titles of padding")
ROWS = 8


class Layer(nn.Module):
    """Parts, and a function of (parts, x, mask)."""

    def __init__(self, function: Callable, **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.function(self, x, mask)


class Model(nn.Module):
    """Titles and histories through a layer each."""

    def __init__(self, layer: Callable[[], nn.Module], words: nn.Module | None = None) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, D) if words is None else words
        self.title, self.user = layer(), layer()

    def forward(self, batch: Batch) -> Tensor:
        ids = batch.articles["title"]
        vectors = _mean(self.title(self.words(ids), ids != 0), ids != 0)
        return self.scores(vectors, batch)

    def scores(self, vectors: Tensor, batch: Batch) -> Tensor:
        history = F.embedding(batch.history, vectors) * batch.history_mask.unsqueeze(-1)
        user = _mean(self.user(history, batch.history_mask), batch.history_mask)
        return (F.embedding(batch.candidates, vectors) @ user.unsqueeze(-1)).squeeze(-1)


class Bags(Model):
    """Titles as bags of words."""

    def __init__(self, **keys) -> None:
        super().__init__(_linear)
        self.words = nn.EmbeddingBag(WORDS, D, padding_idx=0, **keys)

    def forward(self, batch: Batch) -> Tensor:
        return self.scores(self.words(batch.articles["title"]), batch)


class Tied(Model):
    """The table of words again, turned, as a layer."""

    def __init__(self) -> None:
        super().__init__(_linear)
        self.down = nn.Linear(WORDS, D)

    def scores(self, vectors: Tensor, batch: Batch) -> Tensor:
        return super().scores(self.down(torch.tanh(F.linear(vectors, self.words.weight))), batch)


class ByIndex(Model):
    """Looks words up in a parameter by index."""

    def __init__(self) -> None:
        super().__init__(_linear)
        self.table = nn.Parameter(torch.randn(WORDS, D))
        self.words = Layer(lambda m, ids, _: ids)

    def forward(self, batch: Batch) -> Tensor:
        ids = batch.articles["title"]
        return self.scores(_mean(self.title(self.table[ids], ids != 0), ids != 0), batch)


class Language(Model):
    """Titles through a BERT of two layers."""

    def __init__(self, additive: bool) -> None:
        from transformers import BertConfig, BertModel

        super().__init__(_linear)
        config = BertConfig(
            vocab_size=WORDS,
            hidden_size=D,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=16,
        )
        self.words, self.additive = BertModel(config, add_pooling_layer=False), additive

    def forward(self, batch: Batch) -> Tensor:
        ids = batch.articles["title"]
        seen = (ids != 0) | (ids == 0).all(dim=-1, keepdim=True)
        mask = seen.long()
        if self.additive:
            mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None, None]
        states = self.words(input_ids=ids, attention_mask=mask).last_hidden_state
        return self.scores(_mean(states, ids != 0), batch)


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def _linear(width: int = D) -> Layer:
    return Layer(lambda m, x, mask: torch.tanh(m.a(x)), a=nn.Linear(width, D))


def _recurrent(kind: type[nn.RNNBase], packed: bool = False, **keys) -> Callable[[], Layer]:
    def run(m, x, mask):
        if not packed:
            return m.a(x)[0]
        packs = pack_padded_sequence(x, mask.sum(1).clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(m.a(packs)[0], batch_first=True, total_length=x.shape[1])[0]

    width = D // 2 if keys.get("bidirectional") else D
    return lambda: Layer(run, a=kind(D, width, batch_first=True, **keys))


def _conv1d(**keys) -> Callable[[], Layer]:
    return lambda: Layer(
        lambda m, x, mask: torch.tanh(m.a((x * mask.unsqueeze(-1)).transpose(1, 2)).transpose(1, 2)),
        a=nn.Conv1d(D, D, 3, padding=1, **keys),
    )


def _conv2d() -> Layer:
    """A window over all numbers of three words, as sentence CNNs have it."""

    def run(m, x, mask):
        return torch.tanh(m.a((x * mask.unsqueeze(-1)).unsqueeze(1)).squeeze(-1).transpose(1, 2))

    return Layer(run, a=nn.Conv2d(1, D, (3, D), padding=(1, 0)))


def _conv2d_grouped() -> Layer:
    def run(m, x, mask):
        return torch.tanh(m.a((x * mask.unsqueeze(-1)).transpose(1, 2).unsqueeze(-1)).squeeze(-1).transpose(1, 2))

    return Layer(run, a=nn.Conv2d(D, D, (3, 1), padding=(1, 0), groups=2))


def _attention(needed: bool, **keys) -> Callable[[], Layer]:
    def run(m, x, mask):
        return m.a(x, x, x, key_padding_mask=~mask, need_weights=needed)[0]

    return lambda: Layer(run, a=nn.MultiheadAttention(D, 2, batch_first=True, **keys))


def _transformer(**keys) -> Layer:
    one = nn.TransformerEncoderLayer(D, 2, 16, batch_first=True, **keys)
    return Layer(
        lambda m, x, mask: m.a(x, src_key_padding_mask=~mask),
        a=nn.TransformerEncoder(one, 2, enable_nested_tensor=not keys),
    )


def _sdpa(form: str) -> Callable[[], Layer]:
    def run(m, x, mask):
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in m.a(x).chunk(3, dim=-1))
        given = mask[:, None, None, :].expand(-1, 2, x.shape[1], -1)
        if form == "float":
            given = torch.zeros(given.shape, dtype=x.dtype).masked_fill(~given, -torch.inf)
        elif form in ("none", "causal"):
            given = None
        return F.scaled_dot_product_attention(q, k, v, given, is_causal=form == "causal").transpose(1, 2).flatten(2)

    return lambda: Layer(run, a=nn.Linear(D, 3 * D))


def _after(part: Callable[[], nn.Module], channels_second: bool = False) -> Callable[[], Layer]:
    """A layer behind a linear one."""

    def run(m, x, mask):
        x = m.a(x)
        return torch.tanh(m.b(x.transpose(1, 2)).transpose(1, 2) if channels_second else m.b(x))

    return lambda: Layer(run, a=nn.Linear(D, D), b=part())


def _batch_norm() -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(D)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm


def _complex(m, x, mask):
    return torch.view_as_real(torch.complex(x[..., : D // 2], x[..., D // 2 :]) @ m.a).flatten(2)


def _counting(m, x, mask):
    m.seen += 1
    return torch.tanh(m.a(x))


def _counter() -> Layer:
    layer = Layer(_counting, a=nn.Linear(D, D))
    layer.register_buffer("seen", torch.zeros(()))
    return layer


def _autocast(m, x, mask):
    with torch.autocast("cpu", torch.bfloat16):
        return torch.tanh(m.a(x)).float()


class Scripted(nn.Module):
    """A linear layer, as torch.jit.script takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(D, D)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return torch.tanh(self.a(x))


def _checkpointed(m, x, mask):
    return torch.utils.checkpoint.checkpoint(lambda value: torch.tanh(m.a(value)), x, use_reentrant=False)


def _of(layer: Callable[[], nn.Module], **keys) -> Callable[[], Model]:
    return lambda: Model(layer, **keys)


def _simple(function: Callable, **parts: Callable) -> Callable[[], Model]:
    return _of(lambda: Layer(function, **{name: make() for name, make in parts.items()}))


LINEAR = {"a": lambda: nn.Linear(D, D)}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "`nn.Linear`": _of(_linear),
    "`nn.RNN`": _of(_recurrent(nn.RNN)),
    "`nn.RNN`, packed": _of(_recurrent(nn.RNN, packed=True)),
    "`nn.LSTM`": _of(_recurrent(nn.LSTM)),
    "`nn.LSTM`, packed, two layers, both directions": _of(
        _recurrent(nn.LSTM, packed=True, bidirectional=True, num_layers=2)
    ),
    "`nn.LSTM(proj_size=...)`": _of(
        lambda: Layer(lambda m, x, _: m.a(x)[0], a=nn.LSTM(D, 9, batch_first=True, proj_size=D))
    ),
    "`nn.GRU`": _of(_recurrent(nn.GRU)),
    "`nn.GRU`, packed": _of(_recurrent(nn.GRU, packed=True)),
    "`nn.GRUCell`": _simple(
        lambda m, x, _: torch.stack([m.a(step, step) for step in x.unbind(1)], dim=1), a=lambda: nn.GRUCell(D, D)
    ),
    "`nn.Conv1d`": _of(_conv1d()),
    "`nn.Conv1d(groups=2)`": _of(_conv1d(groups=2)),
    '`nn.Conv1d(padding_mode="circular")`': _of(_conv1d(padding_mode="circular")),
    '`nn.Conv1d(padding_mode="replicate")`': _of(_conv1d(padding_mode="replicate")),
    "`nn.Conv2d` over words and numbers": _of(_conv2d),
    "`nn.Conv2d(groups=2)`": _of(_conv2d_grouped),
    "`nn.EmbeddingBag`": Bags,
    "`nn.EmbeddingBag(sparse=True)`": lambda: Bags(sparse=True),
    "`nn.Embedding(sparse=True)`": lambda: Model(_linear, nn.Embedding(WORDS, D, sparse=True)),
    "`nn.Embedding(max_norm=...)`": lambda: Model(_linear, nn.Embedding(WORDS, D, max_norm=1.0)),
    "a parameter looked up by index, `table[ids]`": ByIndex,
    "an embedding that is a layer too (tied)": Tied,
    "`nn.MultiheadAttention`, `need_weights=False`": _of(_attention(False)),
    "`nn.MultiheadAttention`, `need_weights=True`": _of(_attention(True)),
    "`nn.MultiheadAttention(kdim=, vdim=)`": _of(_attention(False, kdim=D, vdim=D)),
    "`nn.MultiheadAttention(add_bias_kv=True)`": _of(_attention(False, add_bias_kv=True)),
    "`nn.TransformerEncoder`": _of(_transformer),
    "`nn.TransformerEncoder(norm_first=True)`": _of(lambda: _transformer(norm_first=True)),
    "`scaled_dot_product_attention`": _of(_sdpa("none")),
    "`scaled_dot_product_attention`, bool mask": _of(_sdpa("bool")),
    "`scaled_dot_product_attention`, float mask": _of(_sdpa("float")),
    "`scaled_dot_product_attention`, causal": _of(_sdpa("causal")),
    "`nn.LayerNorm`": _of(_after(lambda: nn.LayerNorm(D))),
    "`nn.RMSNorm`": _of(_after(lambda: nn.RMSNorm(D))),
    "`nn.GroupNorm`": _of(_after(lambda: nn.GroupNorm(2, D), channels_second=True)),
    "`nn.BatchNorm1d` in eval": _of(_after(_batch_norm, channels_second=True)),
    "`nn.PReLU`": _of(_after(nn.PReLU)),
    "`nn.Bilinear`": _simple(lambda m, x, _: torch.tanh(m.a(x, x)), a=lambda: nn.Bilinear(D, D, D)),
    "`weight_norm` of a linear layer": _simple(
        lambda m, x, _: torch.tanh(m.a(x)), a=lambda: parametrizations.weight_norm(nn.Linear(D, D))
    ),
    "`spectral_norm` of a linear layer": _simple(
        lambda m, x, _: torch.tanh(m.a(x)), a=lambda: parametrizations.spectral_norm(nn.Linear(D, D))
    ),
    "`einsum` with a parameter": _simple(
        lambda m, x, _: torch.tanh(torch.einsum("nld,de->nle", x, m.a)), a=lambda: nn.Parameter(torch.randn(D, D))
    ),
    "`relu_` on a linear layer's output": _simple(lambda m, x, _: m.a(x).relu_(), **LINEAR),
    '`torch.compile(backend="eager")`': _of(lambda: torch.compile(_linear(), backend="eager")),
    "`torch.jit.script`ed": _of(lambda: torch.jit.script(Scripted())),
    "`torch.utils.checkpoint`": _simple(_checkpointed, **LINEAR),
    "`torch.autocast` inside": _simple(_autocast, **LINEAR),
    "a complex parameter": _simple(_complex, a=lambda: nn.Parameter(torch.randn(D // 2, D // 2, dtype=torch.cfloat))),
    "a buffer changed in forward": _of(_counter),
    "transformers' BERT, mask (rows, tokens)": lambda: Language(False),
    "transformers' BERT, additive mask (rows, 1, 1, tokens)": lambda: Language(True),
}


def make(name: str) -> nn.Module:
    """The model in eval mode, always with the same weights."""
    torch.manual_seed(0)
    return MODELS[name]().eval()


def rows(kind: str) -> Inputs:
    """ROWS rows over 12 articles; the first is of the kind, all are where titles are."""
    rng = np.random.default_rng(0)
    lengths = {"titles of one word": [1] * 12, "titles of padding": [0, 0, 0, 4, 2, 5, 3, 1, 2, 5, 4, 3]}.get(
        kind, [2, 3, 5, 4, 2, 5, 3, 2, 2, 5, 4, 3]
    )
    title = rng.integers(2, WORDS, size=(12, TITLE)) * (np.arange(TITLE) < np.array(lengths)[:, None])
    history = [rng.integers(12, size=count).tolist() for count in (2, 5, 3, 1, 4, 2, 6, 3)]
    shown = [rng.permutation(12)[:count].tolist() for count in (3, 2, 4, 3, 2, 5, 3, 4)]
    if kind == "a row without history":
        history[0] = []
    if kind == "titles of padding":
        history[0], shown[0] = [0, 1], [2, 3, 0]
    impressions = Impressions(
        user_ids=np.array([f"u{i}" for i in range(ROWS)], dtype=object),
        history=Ragged.of(history),
        candidates=Ragged.of(shown),
        labels=Ragged.of([[1] + [0] * (len(places) - 1) for places in shown]),
        is_fake=np.zeros(ROWS, dtype=np.int8),
        sources=tuple(f"line {i}" for i in range(ROWS)),
    )
    return Inputs(impressions, {"title": title.astype(np.int32)}, np.arange(ROWS))
