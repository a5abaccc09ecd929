"""NAML: news recommendation with attentive multi-view learning over title, body and topic. Not here: other models.

Source: Wu, Wu, An, Huang, Huang and Xie 2019, Neural News Recommendation with Attentive Multi-View Learning, IJCAI.
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
    AdditiveAttention,
    DotAttention,
    MaxPoolCNN,
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
class NamlSizes:
    """Layer sizes; the defaults are the paper's. An article vector has `filters` numbers.

    Attributes:
        window: width of the convolution, where attention weighs its places.
        windows: widths of several convolutions whose maximum over places is taken instead; () for none.
        heads: of attention over tokens, where that runs across articles; `filters` is then `word_dim`.
        subcategory_dim: width of a subcategory's embedding, 0 for `category_dim`.
    """

    word_dim: int = field(default=300, metadata={"least": 1})
    filters: int = field(default=400, metadata={"least": 1})
    window: int = field(default=3, metadata={"least": 1})
    windows: tuple[int, ...] = ()
    query_dim: int = field(default=200, metadata={"least": 1})
    category_dim: int = field(default=100, metadata={"least": 1})
    subcategory_dim: int = field(default=0, metadata={"least": 0})
    heads: int = field(default=0, metadata={"least": 0})
    dropout: float = field(default=0.2, metadata={"least": 0})


class TopicEncoder(nn.Module):
    """A category or subcategory as a vector: embedding, dense layer, ReLU.

    Args:
        embedding: None where another encoder's is looked up, which `forward` is then given.
    """

    def __init__(self, embedding: nn.Embedding | None, dim: int, width: int, padding_row: str) -> None:
        super().__init__()
        self.embedding, self.padding_row = embedding, padding_row
        self.dense = nn.Linear(dim, width)

    def forward(self, ids: Tensor, mask: Tensor, embedding: nn.Embedding) -> Tensor:
        """(n, width) from (n,) ids and a mask (n,); zeros where it is False."""
        return torch.relu(self.dense(embed(embedding, ids, self.padding_row))) * mask.unsqueeze(-1)


def _text_encoder(sizes: NamlSizes, config: ModelConfig) -> nn.Module:
    habits = config.habits
    if habits.tokens_across:
        if sizes.filters != sizes.word_dim:
            raise ConfigError(
                f"model naml: `tokens_across` gives vectors as wide as words. Got `filters` {sizes.filters} and "
                f"`word_dim` {sizes.word_dim}, expected the same. Set `filters` to `word_dim`."
            )
        return across_text(sizes, config)
    if sizes.windows:
        return MaxPoolCNN(sizes.word_dim, sizes.filters, sizes.windows, sizes.dropout)
    more = (sizes.query_dim, sizes.dropout, habits.epsilon, config.text.padding == "convolved")
    return TextCNN(sizes.word_dim, sizes.filters, sizes.window, *more)


class Naml(nn.Module):
    """Each view of an article becomes a vector; attention joins the views, and again the articles of a history.

    A view that an article does not have (no body, no category) takes no part in its attention over views. A model of
    one view has no such attention: over a single view it is the identity, and its parameters would never be reached.
    """

    def __init__(self, sizes: NamlSizes, config: ModelConfig) -> None:
        super().__init__()
        if sizes.windows and config.text.padding == "masked":  # the maximum would depend on a batch's longest text
            raise ConfigError("model naml: `windows` read padding. Got `padding` masked, expected read. Set it.")
        habits = config.habits
        self.width = sizes.filters
        self.views, self.read_to = config.views, config.text.read_to
        self.padding, self.padding_row = config.text.padding, config.text.padding_row
        texts = [view for view in self.views if view in ("title", "body")]
        topics = {"category": config.text.categories, "subcategory": config.text.subcategories}
        topics = {view: len(names) + 1 for view, names in topics.items() if view in self.views}
        if texts:
            self.word_embedding = new_words(config.text, sizes.word_dim)
        # A shared module stands under one name only: functional_call does not put one back that has two.
        own = texts[:1] if habits.shared_texts else texts
        self.texts = {view: view if view in own else own[0] for view in texts}
        self.across = habits.tokens_across
        self.text_encoders = nn.ModuleDict({view: _text_encoder(sizes, config) for view in own})
        dims = {"category": sizes.category_dim, "subcategory": sizes.subcategory_dim or sizes.category_dim}
        own = list(topics)[: 1 if habits.shared_topics else None]
        embeddings = {view: new_embedding(topics[view], dims[view]) for view in own}
        more = (sizes.filters, self.padding_row)
        self.topics = {view: next(iter(topics)) if habits.shared_dense else view for view in topics}
        self.topic_encoders = nn.ModuleDict(
            {
                view: TopicEncoder(embeddings.get(view), dims[view], *more)
                for view in dict.fromkeys(self.topics.values())
            }
        )
        if len(self.views) > 1:
            additive = habits.view_attention == "additive"
            self.view_attention = (
                AdditiveAttention(sizes.filters, sizes.query_dim, habits.epsilon)
                if additive
                else DotAttention(sizes.filters)
            )
        self.late = habits.user == "mean"
        if not self.late:
            self.user_attention = AdditiveAttention(sizes.filters, sizes.query_dim, habits.epsilon)

    def encode(self, articles: dict[str, Tensor]) -> Tensor:
        """Article vectors (n, D) from the model's views, `title` and `body` (n, T), the topics (n,)."""
        vectors, present = [], []
        for view, place in self.texts.items():
            if self.across:
                vectors.append(read_states(self.text_encoders[place], self.word_embedding, articles[view]))
                continue
            words, mask = words_and_mask(self.word_embedding, articles[view], self.read_to[view], self.padding)
            vectors.append(self.text_encoders[place](words, mask))
            present.append(mask.any(dim=-1))
        embedding = None
        for view, place in self.topics.items():
            encoder = self.topic_encoders[place]
            embedding = embedding if encoder.embedding is None else encoder.embedding
            real = articles[view] != 0
            present.append(torch.ones_like(real) if self.padding == "read" else real)
            vectors.append(encoder(articles[view], present[-1], embedding))
        if self.across:
            return torch.cat(vectors, dim=-1)
        if len(vectors) == 1:
            return vectors[0]
        return self.view_attention(torch.stack(vectors, dim=1), torch.stack(present, dim=1))

    def score(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Scores (B, C) of the candidates; reads the batch's index fields only."""
        history = self._picked(vectors, batch.history, batch.history_mask)
        candidates = self._picked(vectors, batch.candidates, batch.candidate_mask)
        pooled = mean_of if self.late else self.user_attention
        return dot_scores(pooled(history, batch.history_mask), candidates)

    def forward(self, batch: Batch) -> Tensor:
        """Scores (B, C) of a batch in the unique or pair form (articles (n, ...))."""
        return self.score(self.encode(batch.articles), batch)

    def _picked(self, vectors: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Vectors (B, P, D) of the articles at `positions` (B, P), zero where `mask` is False."""
        if not self.across:
            return pick(vectors, positions, mask)
        parts = {view: self.text_encoders[place] for view, place in self.texts.items()}
        found = pick_parts(vectors, positions, mask, parts | dict.fromkeys(self.topics, self.width))
        if len(found) == 1:
            return found[0]
        views = torch.stack(found, dim=2)
        return self.view_attention(views, torch.ones_like(views[..., 0], dtype=torch.bool))
