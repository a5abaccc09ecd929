"""LSTUR: news recommendation with long- and short-term user representations. Not here: other models.

Source: An, Wu, Wu, Zhang, Liu and Xie 2019, Neural News Recommendation with Long- and Short-term User
Representations, ACL.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rec_trak.config.model import ModelConfig
from rec_trak.data.batches import Batch
from rec_trak.errors import ConfigError
from rec_trak.models.across import across_text, pick_parts, read_states
from rec_trak.models.layers import (
    GRU,
    ResetFirstGRU,
    TextCNN,
    dot_scores,
    embed,
    mean_of,
    new_embedding,
    new_words,
    pick,
    words_and_mask,
)

VIEWS = ("title", "body", "category", "subcategory")


@dataclass(frozen=True)
class LsturSizes:
    """Layer sizes; the defaults are the paper's.

    Attributes:
        fusion: `ini`, the long-term vector is the GRU's first state; `con`, it stands beside the GRU's last one, each
            with half of the article vector's width; `con_dense`, each has all of it, and a linear layer follows.
        heads: of attention over tokens, where that runs across articles; a text then has `word_dim` numbers.
        user_dropout: the probability that training hides a user's long-term vector.
    """

    word_dim: int = field(default=300, metadata={"least": 1})
    filters: int = field(default=300, metadata={"least": 1})
    window: int = field(default=3, metadata={"least": 1})
    query_dim: int = field(default=200, metadata={"least": 1})
    category_dim: int = field(default=100, metadata={"least": 1})
    fusion: str = field(default="ini", metadata={"choices": ("ini", "con", "con_dense")})
    heads: int = field(default=0, metadata={"least": 0})
    user_dropout: float = field(default=0.5, metadata={"least": 0})
    dropout: float = field(default=0.2, metadata={"least": 0})


class Lstur(nn.Module):
    """A title's CNN with topic embeddings beside it; a GRU over the history with an embedding of the user.

    A body, which the paper does not read, goes through the title's CNN.

    An unknown user (number 0) has the vector that training shows for a hidden one, zeros, unless row 0 is `learnt`.
    """

    def __init__(self, sizes: LsturSizes, config: ModelConfig) -> None:
        super().__init__()
        text, views, habits = config.text, config.views, config.habits
        self.read_to, self.padding, self.padding_row = text.read_to, text.padding, text.padding_row
        self.order = habits.order or tuple(view for view in VIEWS if view in views)
        if sorted(self.order) != sorted(views):
            raise ConfigError(
                f"model lstur: `order` does not hold the views once each. Got {list(self.order)}, expected "
                f"{sorted(views)}."
            )
        self.word_embedding = new_words(text, sizes.word_dim)
        more = (sizes.query_dim, sizes.dropout, habits.epsilon, text.padding == "convolved")
        self.across = habits.tokens_across
        self.title_encoder = (
            across_text(sizes, config) if self.across else TextCNN(sizes.word_dim, sizes.filters, sizes.window, *more)
        )
        text_dim = sizes.word_dim if self.across else sizes.filters
        names = {"category": text.categories, "subcategory": text.subcategories}
        topics = [view for view in names if view in views]
        # A shared module stands under one name only: functional_call does not put one back that has two.
        own = topics[:1] if habits.shared_topics else topics
        self.topics = {view: view if view in own else own[0] for view in topics}
        self.category_dim = sizes.category_dim
        embeddings = {view: new_embedding(len(names[view]) + 1, sizes.category_dim) for view in own}
        self.topic_embeddings = nn.ModuleDict(embeddings)
        width = text_dim * (len(views) - len(topics)) + sizes.category_dim * len(topics)
        self.fusion, self.user_dropout, self.skip_empty = sizes.fusion, sizes.user_dropout, habits.skip_empty
        self.long_dim = width // 2 if sizes.fusion == "con" else width
        self.short_dim = width - width // 2 if sizes.fusion == "con" else width
        self.late = habits.user == "mean"
        if self.late:
            return
        self.user_embedding = new_embedding(len(config.users) + 1, self.long_dim)
        self.gru = (GRU if habits.gru == "reset_after" else ResetFirstGRU)(width, self.short_dim)
        if sizes.fusion == "con_dense":
            self.user_dense = nn.Linear(2 * width, width)

    def encode(self, articles: dict[str, Tensor]) -> Tensor:
        """Article vectors (n, D) from the model's views, `title` and `body` (n, T), the topics (n,)."""
        return torch.cat([self._view(view, articles[view]) for view in self.order], dim=-1)

    def score(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Scores (B, C) of the candidates; reads the batch's index fields only."""
        history = self._picked(vectors, batch.history, batch.history_mask)
        candidates = self._picked(vectors, batch.candidates, batch.candidate_mask)
        if self.late:
            return dot_scores(mean_of(history, batch.history_mask), candidates)
        long_term = self._long_term(batch.user)
        mask = batch.history_mask & (history != 0).any(dim=-1) if self.skip_empty else batch.history_mask
        if self.fusion == "ini":
            user = self.gru(history, mask, long_term)
            user = user * mask.any(dim=-1, keepdim=True) if self.skip_empty else user
        else:
            start = history.new_zeros(history.shape[0], self.short_dim)
            user = torch.cat([self.gru(history, mask, start), long_term], dim=-1)
            user = self.user_dense(user) if self.fusion == "con_dense" else user
        return dot_scores(user, candidates)

    def forward(self, batch: Batch) -> Tensor:
        """Scores (B, C) of a batch in the unique or pair form (articles (n, ...))."""
        return self.score(self.encode(batch.articles), batch)

    def _view(self, view: str, ids: Tensor) -> Tensor:
        if view in self.topics:
            return embed(self.topic_embeddings[self.topics[view]], ids, self.padding_row)
        if self.across:
            return read_states(self.title_encoder, self.word_embedding, ids)
        return self.title_encoder(*words_and_mask(self.word_embedding, ids, self.read_to[view], self.padding))

    def _picked(self, vectors: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Vectors (B, P, D) of the articles at `positions` (B, P), zero where `mask` is False."""
        if not self.across:
            return pick(vectors, positions, mask)
        parts = {view: self.category_dim if view in self.topics else self.title_encoder for view in self.order}
        return torch.cat(pick_parts(vectors, positions, mask, parts), dim=-1)

    def _long_term(self, user: Tensor) -> Tensor:
        """(B, long_dim); in training whole users are hidden at random, without rescaling, as in the paper."""
        vectors = embed(self.user_embedding, user, self.padding_row)
        if not self.training:
            return vectors
        return vectors * (torch.rand(user.shape, device=user.device) >= self.user_dropout).unsqueeze(-1)
