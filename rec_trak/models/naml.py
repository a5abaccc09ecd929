"""NAML: news recommendation with attentive multi-view learning over title, body and topic. Not here: other models.

Source: Wu, Wu, An, Huang, Huang and Xie 2019, Neural News Recommendation with Attentive Multi-View Learning, IJCAI.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rec_trak.config.model import ModelConfig
from rec_trak.data.batches import Batch
from rec_trak.models.layers import AdditiveAttention, TextCNN, dot_scores, embed, new_embedding, pick

VIEWS = ("title", "body", "category", "subcategory")


@dataclass(frozen=True)
class NamlSizes:
    """Layer sizes; the defaults are the paper's. An article vector has `filters` numbers."""

    word_dim: int = field(default=300, metadata={"least": 1})
    filters: int = field(default=400, metadata={"least": 1})
    window: int = field(default=3, metadata={"least": 1})
    query_dim: int = field(default=200, metadata={"least": 1})
    category_dim: int = field(default=100, metadata={"least": 1})
    dropout: float = field(default=0.2, metadata={"least": 0})


class TopicEncoder(nn.Module):
    """A category or subcategory as a vector: embedding, dense layer, ReLU; zeros for id 0."""

    def __init__(self, count: int, dim: int, width: int) -> None:
        super().__init__()
        self.embedding = new_embedding(count, dim)
        self.dense = nn.Linear(dim, width)

    def forward(self, ids: Tensor) -> Tensor:
        """(n, width) from (n,) ids."""
        return torch.relu(self.dense(embed(self.embedding, ids))) * (ids != 0).unsqueeze(-1)


class Naml(nn.Module):
    """Each view of an article becomes a vector; attention joins the views, and again the articles of a history.

    A view that an article does not have (no body, no category) takes no part in its attention over views. A model of
    one view has no such attention: over a single view it is the identity, and its parameters would never be reached.
    """

    def __init__(self, sizes: NamlSizes, config: ModelConfig) -> None:
        super().__init__()
        self.views = config.views
        texts = [view for view in self.views if view in ("title", "body")]
        topics = {"category": config.text.categories, "subcategory": config.text.subcategories}
        cnn = (sizes.word_dim, sizes.filters, sizes.window, sizes.query_dim, sizes.dropout)
        if texts:
            self.word_embedding = new_embedding(len(config.text.words) + 2, sizes.word_dim)
        self.text_encoders = nn.ModuleDict({view: TextCNN(*cnn) for view in texts})
        self.topic_encoders = nn.ModuleDict(
            {
                view: TopicEncoder(len(names) + 1, sizes.category_dim, sizes.filters)
                for view, names in topics.items()
                if view in self.views
            }
        )
        if len(self.views) > 1:
            self.view_attention = AdditiveAttention(sizes.filters, sizes.query_dim)
        self.user_attention = AdditiveAttention(sizes.filters, sizes.query_dim)

    def encode(self, articles: dict[str, Tensor]) -> Tensor:
        """Article vectors (n, D) from the model's views, `title` and `body` (n, T), the topics (n,)."""
        vectors, present = [], []
        for view, encoder in self.text_encoders.items():
            mask = articles[view] != 0
            vectors.append(encoder(embed(self.word_embedding, articles[view]), mask))
            present.append(mask.any(dim=-1))
        for view, encoder in self.topic_encoders.items():
            vectors.append(encoder(articles[view]))
            present.append(articles[view] != 0)
        if len(vectors) == 1:
            return vectors[0]
        return self.view_attention(torch.stack(vectors, dim=1), torch.stack(present, dim=1))

    def score(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Scores (B, C) of the candidates; reads the batch's index fields only."""
        history = pick(vectors, batch.history, batch.history_mask)
        return dot_scores(self.user_attention(history, batch.history_mask), vectors, batch)

    def forward(self, batch: Batch) -> Tensor:
        """Scores (B, C) of a batch in the unique or pair form (articles (n, ...))."""
        return self.score(self.encode(batch.articles), batch)
