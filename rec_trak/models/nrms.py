"""NRMS: news recommendation with multi-head self-attention over words and over the history. Not here: other models.

Source: Wu, Wu, Ge, Qi, Huang and Xie 2019, Neural News Recommendation with Multi-Head Self-Attention, EMNLP.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from rec_trak.config.model import ModelConfig
from rec_trak.data.batches import Batch
from rec_trak.errors import ConfigError
from rec_trak.models.across import across_text, pick_parts, read_states
from rec_trak.models.layers import (
    AdditiveAttention,
    SelfAttention,
    dot_scores,
    mean_of,
    new_words,
    pick,
    words_and_mask,
)

VIEWS = ("title",)


@dataclass(frozen=True)
class NrmsSizes:
    """Layer sizes; the defaults are the paper's. An article vector has heads * head_dim numbers.

    Attributes:
        user_heads: heads over the history, which share that width; 0 for as many as over words.
    """

    word_dim: int = field(default=300, metadata={"least": 1})
    heads: int = field(default=16, metadata={"least": 1})
    head_dim: int = field(default=16, metadata={"least": 1})
    user_heads: int = field(default=0, metadata={"least": 0})
    query_dim: int = field(default=200, metadata={"least": 1})
    dropout: float = field(default=0.2, metadata={"least": 0})


class Nrms(nn.Module):
    """Self-attention and additive attention over a title's words, and again over the articles of a history."""

    def __init__(self, sizes: NrmsSizes, config: ModelConfig) -> None:
        super().__init__()
        habits, width = config.habits, sizes.heads * sizes.head_dim
        user_heads = sizes.user_heads or sizes.heads
        if width % user_heads:
            raise ConfigError(
                f"model nrms: `user_heads` does not divide the width. Got {user_heads} heads for {width}, expected a "
                f"divisor."
            )
        more = (habits.output_projection, habits.bias)
        self.padding = (config.text.read_to["title"], config.text.padding)
        self.word_embedding = new_words(config.text, sizes.word_dim)
        self.across = habits.tokens_across
        if self.across:
            self.title_encoder = across_text(sizes, config)
        else:
            self.title_self_attention = SelfAttention(
                sizes.word_dim, sizes.heads, sizes.head_dim, habits.weights, *more
            )
            self.title_attention = AdditiveAttention(width, sizes.query_dim, habits.epsilon)
        self.late = habits.user == "mean"
        if not self.late:
            user_weights = habits.user_weights or habits.weights
            self.user_self_attention = SelfAttention(width, user_heads, width // user_heads, user_weights, *more)
            self.user_attention = AdditiveAttention(width, sizes.query_dim, habits.epsilon)
        self.dropout = nn.Dropout(sizes.dropout)

    def encode(self, articles: dict[str, Tensor]) -> Tensor:
        """Article vectors (n, D) from `title` (n, T); word vectors where tokens attend across articles."""
        if self.across:
            return read_states(self.title_encoder, self.word_embedding, articles["title"])
        words, mask = words_and_mask(self.word_embedding, articles["title"], *self.padding)
        contexts = self.dropout(self.title_self_attention(self.dropout(words), mask))
        return self.title_attention(contexts, mask)

    def score(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Scores (B, C) of the candidates; reads the batch's index fields only."""
        history = self._picked(vectors, batch.history, batch.history_mask)
        candidates = self._picked(vectors, batch.candidates, batch.candidate_mask)
        if self.late:
            return dot_scores(mean_of(history, batch.history_mask), candidates)
        contexts = self.dropout(self.user_self_attention(history, batch.history_mask))
        return dot_scores(self.user_attention(contexts, batch.history_mask), candidates)

    def forward(self, batch: Batch) -> Tensor:
        """Scores (B, C) of a batch in the unique or pair form (articles (n, ...))."""
        return self.score(self.encode(batch.articles), batch)

    def _picked(self, vectors: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Vectors (B, P, D) of the articles at `positions` (B, P), zero where `mask` is False."""
        if self.across:
            return pick_parts(vectors, positions, mask, {"title": self.title_encoder})[0]
        return pick(vectors, positions, mask)
