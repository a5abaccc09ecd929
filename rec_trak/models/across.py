"""Attention over tokens that runs across the articles side by side, as newsreclib's does. Not here: any other layer.

The token at a place of a text attends to those at the same place of the other articles of a row's history, or of its
candidates; no token attends to another one of its own text. So an article has no vector of its own: what `encode` gives
is each article's word vectors, and `score` makes vectors of them, once it knows which articles stand together.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rec_trak.config.model import Habits, ModelConfig
from rec_trak.errors import ConfigError
from rec_trak.models.layers import AdditiveAttention, SelfAttention, pick, words_and_mask


class AcrossText(nn.Module):
    """Vectors of the texts of articles that stand together: attention across them, then additive attention over places.

    All places are read up to the end of the longest text among them, padding too.

    Attributes:
        length: texts have so many places.
        width: numbers that stand for a text until it meets others: for each place a word vector, and 1 where a word is.
    """

    def __init__(self, dim: int, heads: int, query_dim: int, length: int, dropout: float, habits: Habits) -> None:
        """With `heads` heads, which share the `dim` numbers of a word vector.

        Raises:
            ConfigError: the heads do not divide the word vectors.
        """
        super().__init__()
        if not heads or dim % heads:
            raise ConfigError(
                f"model: `heads` does not divide the word vectors. Got {heads} heads for `word_dim` {dim}, expected a "
                "divisor. Set `heads` to one."
            )
        self.dim, self.length, self.width = dim, length, length * (dim + 1)
        more = (habits.weights, habits.output_projection, habits.bias)
        self.self_attention = SelfAttention(dim, heads, dim // heads, *more)
        self.attention = AdditiveAttention(dim, query_dim, habits.epsilon)
        self.dropout = nn.Dropout(dropout)

    def states(self, words: Tensor, ids: Tensor) -> Tensor:
        """(n, width) from word vectors (n, length, dim) and ids (n, T), 0 behind the text."""
        there = F.pad(ids != 0, (0, self.length - ids.shape[1]))
        return torch.cat([words, there.unsqueeze(-1).to(words.dtype)], dim=-1).flatten(1)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """(B, P, dim) from states (B, P, width) that are zero where `mask` (B, P) is False; zeros there."""
        states = states.unflatten(-1, (self.length, self.dim + 1))
        there = (states[..., -1] != 0).any(dim=1)  # (B, T)
        longest = _longest(there)
        words, there = self.dropout(states[:, :, :longest, :-1]), there[:, :longest]
        contexts = self.self_attention(words.transpose(1, 2), mask.unsqueeze(1)).transpose(1, 2)
        return self.attention(self.dropout(contexts), there.unsqueeze(1))


def across_text(sizes: Any, config: ModelConfig) -> AcrossText:
    """The layer for texts of every view that a model reads.

    Raises:
        ConfigError: padding is not read, or the heads do not divide the word vectors.
    """
    text = config.text
    if text.padding != "read":
        raise ConfigError(
            f"model: `tokens_across` reads padding. Got `padding` {text.padding}, expected read. Set it to read."
        )
    length = max(text.read_to[view] for view in config.views if view in text.read_to)
    return AcrossText(sizes.word_dim, sizes.heads, sizes.query_dim, length, sizes.dropout, config.habits)


def read_states(layer: AcrossText, words: nn.Module, ids: Tensor) -> Tensor:
    """What stands for texts (n, T) until they meet others, (n, layer.width), over an embedding or a language model."""
    return layer.states(words_and_mask(words, ids, layer.length)[0], ids)


def pick_parts(vectors: Tensor, positions: Tensor, mask: Tensor, parts: dict[str, AcrossText | int]) -> list[Tensor]:
    """Vectors (B, P, .) of each part of the articles at `positions` (B, P), zero where `mask` is False.

    Args:
        vectors: (n, .) the parts of each article side by side.
        parts: for a text, the layer that gives its vector; for what has a vector already, its width.
    """
    widths = [part if isinstance(part, int) else part.width for part in parts.values()]
    found = pick(vectors, positions, mask).split(widths, dim=-1)
    both = zip(parts.values(), found, strict=True)
    return [states if isinstance(part, int) else part(states, mask) for part, states in both]


def _longest(there: Tensor) -> int:
    """The places up to the end of the longest of all texts, at least one."""
    try:
        return max(int((there * torch.arange(1, there.shape[-1] + 1, device=there.device)).max()), 1)
    except RuntimeError:  # inside torch.func.vmap no number can be looked at
        return there.shape[-1]
