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
from rec_trak.models.layers import GRU, TextCNN, dot_scores, embed, new_embedding, new_words, pick, words_and_mask

VIEWS = ("title", "category", "subcategory")


@dataclass(frozen=True)
class LsturSizes:
    """Layer sizes; the defaults are the paper's.

    Attributes:
        fusion: `ini`, the long-term vector is the GRU's first state; `con`, it stands beside the GRU's last one, each
            with half of the article vector's width.
        shared_topics: whether category and subcategory look up one embedding (their names are then one list).
        user_dropout: the probability that training hides a user's long-term vector.
    """

    word_dim: int = field(default=300, metadata={"least": 1})
    filters: int = field(default=300, metadata={"least": 1})
    window: int = field(default=3, metadata={"least": 1})
    query_dim: int = field(default=200, metadata={"least": 1})
    category_dim: int = field(default=100, metadata={"least": 1})
    shared_topics: bool = False
    fusion: str = field(default="ini", metadata={"choices": ("ini", "con")})
    user_dropout: float = field(default=0.5, metadata={"least": 0})
    dropout: float = field(default=0.2, metadata={"least": 0})


class Lstur(nn.Module):
    """A title's CNN with topic embeddings beside it; a GRU over the history with an embedding of the user.

    An unknown user (number 0) has the vector that training shows for a hidden one: zeros.
    """

    def __init__(self, sizes: LsturSizes, config: ModelConfig) -> None:
        super().__init__()
        text, views = config.text, config.views
        self.read_to = text.read_to["title"]
        self.word_embedding = new_words(text, sizes.word_dim)
        self.title_encoder = TextCNN(sizes.word_dim, sizes.filters, sizes.window, sizes.query_dim, sizes.dropout)
        topics = {"category": text.categories, "subcategory": text.subcategories}
        embeddings = {
            view: new_embedding(len(names) + 1, sizes.category_dim) for view, names in topics.items() if view in views
        }
        if sizes.shared_topics:
            embeddings = dict.fromkeys(embeddings, next(iter(embeddings.values()), None))
        self.topic_embeddings = nn.ModuleDict(embeddings)
        width = sizes.filters + sizes.category_dim * len(self.topic_embeddings)
        self.fusion, self.user_dropout = sizes.fusion, sizes.user_dropout
        self.long_dim = width if sizes.fusion == "ini" else width // 2
        self.short_dim = width if sizes.fusion == "ini" else width - width // 2
        self.user_embedding = new_embedding(len(config.users) + 1, self.long_dim)
        self.gru = GRU(width, self.short_dim)

    def encode(self, articles: dict[str, Tensor]) -> Tensor:
        """Article vectors (n, D) from `title` (n, T) and the model's topics (n,)."""
        parts = [self.title_encoder(*words_and_mask(self.word_embedding, articles["title"], self.read_to))]
        parts += [embed(embedding, articles[view]) for view, embedding in self.topic_embeddings.items()]
        return torch.cat(parts, dim=-1)

    def score(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Scores (B, C) of the candidates; reads the batch's index fields only."""
        history = pick(vectors, batch.history, batch.history_mask)
        long_term = self._long_term(batch.user)
        if self.fusion == "ini":
            user = self.gru(history, batch.history_mask, long_term)
        else:
            start = history.new_zeros(history.shape[0], self.short_dim)
            user = torch.cat([self.gru(history, batch.history_mask, start), long_term], dim=-1)
        return dot_scores(user, vectors, batch)

    def forward(self, batch: Batch) -> Tensor:
        """Scores (B, C) of a batch in the unique or pair form (articles (n, ...))."""
        return self.score(self.encode(batch.articles), batch)

    def _long_term(self, user: Tensor) -> Tensor:
        """(B, long_dim); in training whole users are hidden at random, without rescaling, as in the paper."""
        vectors = embed(self.user_embedding, user)
        if not self.training:
            return vectors
        return vectors * (torch.rand(user.shape, device=user.device) >= self.user_dropout).unsqueeze(-1)
