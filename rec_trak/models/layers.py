"""The layers that NRMS, NAML and LSTUR share. Not here: which model uses which.

Every layer takes a mask and gives zeros, with finite gradients, where nothing is real (an empty title, a user without
a history). Nothing branches on the data, so that `torch.func.vmap(grad(...))` runs through all of it. What other code
bases do otherwise is an option here, named for what it does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rec_trak.config.model import TextConfig


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last dimension of the entries where `mask` is True; zeros elsewhere and in rows without any.

    Args:
        logits: (..., L).
        mask: bool, broadcastable to `logits`.
    """
    # The least finite number and not -inf: a row without a real entry stays finite, and the product makes it zero.
    lowest = torch.finfo(logits.dtype).min
    return torch.softmax(logits.masked_fill(~mask, lowest), dim=-1) * mask


def masked_exp(logits: Tensor, mask: Tensor, epsilon: float = 1e-8) -> Tensor:
    """exp(logits) over their sum + epsilon, as `masked_softmax`; it overflows where a logit passes 88."""
    weights = torch.exp(logits) * mask
    return weights / (weights.sum(dim=-1, keepdim=True) + epsilon)


def embed(embedding: nn.Embedding, ids: Tensor, padding_row: str = "fixed") -> Tensor:
    """Embeddings (..., dim) of `ids`; zero where the id is 0, whatever row 0 holds, unless that row is `learnt`."""
    return embedding(ids) if padding_row == "learnt" else embedding(ids) * (ids != 0).unsqueeze(-1)


def words_and_mask(words: nn.Module, ids: Tensor, read_to: int | None, padding: str = "read") -> tuple[Tensor, Tensor]:
    """Word vectors (n, T, dim) of texts (n, T), and the places (n, T) that the layers above may read.

    Args:
        words: an embedding, whose row 0 stands at padding; or a language model.
        read_to: None masks padding; a length pads texts to it again, and padding is read like any word (`read`), or
            by convolutions alone (`convolved`).
    """
    if read_to is not None:
        ids = F.pad(ids, (0, read_to - ids.shape[1]))
    mask = ids != 0 if read_to is None or padding == "convolved" else torch.ones_like(ids, dtype=torch.bool)
    return words(ids), mask


def new_embedding(count: int, dim: int) -> nn.Embedding:
    """An embedding of `count` rows for the ids 0 (nothing) to count - 1, with entries of about the size of GloVe's."""
    embedding = nn.Embedding(count, dim)
    with torch.no_grad():
        embedding.weight.normal_(std=0.1)
        embedding.weight[0] = 0
    return embedding


def pick(vectors: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
    """Vectors (B, L, D) of the articles at `positions` (B, L) of `vectors` (n, D); zero where `mask` is False."""
    # Not vectors[positions]: the gradient of that adds in whatever order the threads come, so no run repeats another.
    return F.embedding(positions, vectors) * mask.unsqueeze(-1)


def dot_scores(user: Tensor, candidates: Tensor) -> Tensor:
    """Scores (B, C): dot products of `user` (B, D) with candidates (B, C, D) that are zero where they are masked."""
    return (candidates @ user.unsqueeze(-1)).squeeze(-1)


def mean_of(vectors: Tensor, mask: Tensor) -> Tensor:
    """The mean (B, D) of vectors (B, L, D) that are zero where `mask` (B, L) is False; zeros where none is real."""
    return vectors.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


def new_words(text: TextConfig, dim: int) -> nn.Module:
    """What turns the text's word ids into vectors of `dim` numbers: an embedding, or the language model that it names.

    Raises:
        ConfigError: the language model has another width, or cannot be built.
    """
    if text.tokeniser != "pretrained":
        embedding = new_embedding(len(text.words) + 2, dim)
        embedding.padding_idx = None if text.padding_row == "learnt" else 0  # which takes no gradient
        return embedding
    from rec_trak.models.language import LanguageModel

    return LanguageModel(text.pretrained, dim)


class AdditiveAttention(nn.Module):
    """One vector for a sequence: a softmax of query . tanh(W x + b) weighs its elements.

    With an `epsilon` the weights are the exponentials over their sum + epsilon, without a shift by the largest.

    Source: Wu et al. 2019 (NRMS, EMNLP), additive word attention; the same in NAML and LSTUR.
    """

    def __init__(self, dim: int, query_dim: int, epsilon: float = 0.0) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.projection = nn.Linear(dim, query_dim)
        self.query = nn.Linear(query_dim, 1, bias=False)

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """(..., dim) from (..., L, dim) and a mask (..., L); zeros for a sequence without a real element."""
        logits = self.query(torch.tanh(self.projection(sequence))).squeeze(-1)
        weights = masked_exp(logits, mask, self.epsilon) if self.epsilon else masked_softmax(logits, mask)
        return (weights.unsqueeze(-2) @ sequence).squeeze(-2)


class SelfAttention(nn.Module):
    """Multi-head self-attention; logits are divided by the root of the head's width.

    Under `softmax` the keys have no bias: it would add one number to all logits of a query, which the softmax takes
    out again, so the parameter would never reach the output.

    Args:
        weights: `softmax`; `exp`: exp(s) / (sum of exp(s) + 1e-8), without a shift by the largest, with a bias of
            the keys; `transposed`: softmax, but what element i gives to j is what j gives to i in the others;
            `itself`: each element attends to itself alone, so that there are no queries and keys.
        output_projection: whether a linear layer follows the heads.
        bias: whether queries and values (and keys under `exp`) have one.

    Source: Wu et al. 2019 (NRMS, EMNLP), news encoder; the scale is Vaswani et al. 2017, section 3.2.1.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        head_dim: int,
        weights: str = "softmax",
        output_projection: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.heads, self.head_dim, self.weights = heads, head_dim, weights
        if weights != "itself":
            self.w_q = nn.Linear(dim, heads * head_dim, bias=bias)
            self.w_k = nn.Linear(dim, heads * head_dim, bias=bias and weights == "exp")
        self.w_v = nn.Linear(dim, heads * head_dim, bias=bias)
        self.w_o = nn.Linear(heads * head_dim, heads * head_dim) if output_projection else nn.Identity()

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """(..., L, heads * head_dim) from (..., L, dim) and a mask (..., L); zeros at masked places."""
        if self.weights == "itself":
            return self.w_o(self.w_v(sequence)) * mask.unsqueeze(-1)
        q, k, v = (self._split(layer(sequence)) for layer in (self.w_q, self.w_k, self.w_v))
        logits = q @ k.transpose(-1, -2) / math.sqrt(self.head_dim)
        weigh = masked_exp if self.weights == "exp" else masked_softmax
        weights = weigh(logits, mask[..., None, None, :])
        if self.weights == "transposed":
            weights = (weights * mask[..., None, :, None]).transpose(-1, -2)
        contexts = (weights @ v).transpose(-3, -2).flatten(-2)
        return self.w_o(contexts) * mask.unsqueeze(-1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.head_dim)).transpose(-3, -2)


class TextCNN(nn.Module):
    """One vector for a text: dropout, convolution over windows of words, ReLU, dropout, additive attention.

    Args:
        epsilon: of the attention, see `AdditiveAttention`.
        convolves_padding: whether the convolution reads masked places as they are; the attention then passes over
            them, and over places where no filter answers.

    Source: Wu et al. 2019 (NAML, IJCAI) and An et al. 2019 (LSTUR, ACL), title encoders.
    """

    def __init__(
        self,
        word_dim: int,
        filters: int,
        window: int,
        query_dim: int,
        dropout: float,
        epsilon: float = 0.0,
        convolves_padding: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(word_dim, filters, window, padding="same")
        self.attention = AdditiveAttention(filters, query_dim, epsilon)
        self.dropout = nn.Dropout(dropout)
        self.convolves_padding = convolves_padding

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """(n, filters) from word vectors (n, T, word_dim) and a mask (n, T); masked places count as zero vectors."""
        if words.shape[1] == 0:  # no text has a word: a convolution needs one place
            words, mask = F.pad(words, (0, 0, 0, 1)), F.pad(mask, (0, 1))
        words = self.dropout(words)
        words = words if self.convolves_padding else words * mask.unsqueeze(-1)
        contexts = torch.relu(self.conv(words.transpose(1, 2))).transpose(1, 2)
        if self.convolves_padding:
            mask = mask & (contexts != 0).any(dim=-1)
        return self.attention(self.dropout(contexts), mask)


class MaxPoolCNN(nn.Module):
    """One vector for a text: convolutions of several widths, ReLU, the maximum over places, a linear layer.

    Each convolution pads half its width on both sides, so an even one has a place more than the text has words.

    Source: Kim 2014, Convolutional Neural Networks for Sentence Classification, EMNLP, section 2.
    """

    def __init__(self, word_dim: int, filters: int, windows: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(word_dim, filters, width, padding=width // 2) for width in windows)
        self.projection = nn.Linear(filters * len(windows), filters)
        self.dropout = nn.Dropout(dropout)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        """(n, filters) from word vectors (n, T, word_dim) and a mask (n, T); masked places count as zero vectors."""
        if words.shape[1] == 0:  # no text has a word: a convolution needs one place
            words, mask = F.pad(words, (0, 0, 0, 1)), F.pad(mask, (0, 1))
        words = (words * mask.unsqueeze(-1)).transpose(1, 2)
        pooled = [torch.relu(conv(words)).max(dim=-1).values for conv in self.convs]
        return self.projection(self.dropout(torch.cat(pooled, dim=-1)))


class DotAttention(nn.Module):
    """One vector for a sequence: a softmax of dot products with one learnt query weighs its elements."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(dim))

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """(n, dim) from (n, L, dim) and a mask (n, L); zeros for a sequence without a real element."""
        weights = masked_softmax(sequence @ self.query, mask)
        return (weights.unsqueeze(-2) @ sequence).squeeze(-2)


class GRU(nn.Module):
    """One layer of gated recurrent units with nn.GRU's parameters; the state stays as it is at masked steps.

    It is written out because nn.GRU can neither carry a mask nor run inside `torch.func.vmap`.

    Source: Cho et al. 2014, with the reset gate after the product as in cuDNN and `torch.nn.GRU`.
    """

    def __init__(self, dim: int, state_dim: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(state_dim)
        for name, shape in (
            ("weight_ih_l0", (3 * state_dim, dim)),
            ("weight_hh_l0", (3 * state_dim, state_dim)),
            ("bias_ih_l0", (3 * state_dim,)),
            ("bias_hh_l0", (3 * state_dim,)),
        ):
            self.register_parameter(name, nn.Parameter(torch.empty(shape).uniform_(-bound, bound)))

    def forward(self, sequence: Tensor, mask: Tensor, state: Tensor) -> Tensor:
        """The last state (B, state_dim), from inputs (B, H, dim), a mask (B, H) and a first state (B, state_dim)."""
        inputs = F.linear(sequence, self.weight_ih_l0, self.bias_ih_l0)
        for step in range(sequence.shape[1]):
            in_reset, in_update, in_new = inputs[:, step].chunk(3, dim=-1)
            reset, update, new = F.linear(state, self.weight_hh_l0, self.bias_hh_l0).chunk(3, dim=-1)
            update = torch.sigmoid(in_update + update)
            new = torch.tanh(in_new + torch.sigmoid(in_reset + reset) * new)
            state = torch.where(mask[:, step, None], new + update * (state - new), state)
        return state


class ResetFirstGRU(nn.Module):
    """A GRU whose reset gate scales the state before its product, with gates clip(0.2 x + 0.5, 0, 1); mask as `GRU`.

    Source: Cho et al. 2014, section 2.3, but for the form of the gates, which is Keras 1's.
    """

    def __init__(self, dim: int, state_dim: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(dim, 3 * state_dim)
        self.gates = nn.Linear(state_dim, 2 * state_dim, bias=False)
        self.new = nn.Linear(state_dim, state_dim, bias=False)

    def forward(self, sequence: Tensor, mask: Tensor, state: Tensor) -> Tensor:
        """The last state (B, state_dim), from inputs (B, H, dim), a mask (B, H) and a first state (B, state_dim)."""
        inputs = self.inputs(sequence)
        for step in range(sequence.shape[1]):
            in_update, in_reset, in_new = inputs[:, step].chunk(3, dim=-1)
            update, reset = self.gates(state).chunk(2, dim=-1)
            update, reset = (torch.clamp(0.2 * x + 0.5, 0, 1) for x in (in_update + update, in_reset + reset))
            new = torch.tanh(in_new + self.new(reset * state))
            state = torch.where(mask[:, step, None], new + update * (state - new), state)
        return state
