"""What a model is made of, sizes and habits of its layers: the JSON beside a checkpoint. Not here: the layers."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rec_trak.config.reader import build, read_mapping
from rec_trak.disk import replacing

ARCHITECTURES = ("nrms", "naml", "lstur")
OWN = "own"  # in the place of these for a class that the YAML names; no settings file can say it
VIEWS = ("title", "body", "category", "subcategory")


@dataclass(frozen=True)
class TextConfig:
    """How an article becomes integers.

    Attributes:
        tokeniser: `regex` (words and . , ! ? ; | apart, lower case), `whitespace` (lower case, split), `parsed` (as
            the data say that their texts were split) or `pretrained` (a language model's own: its id i is id i + 1
            here, 0 is padding, and there are no `words`).
        pretrained: folder or hub name of the language model that reads the text; '' for a word embedding.
        title_length, body_length: the first so many tokens are kept.
        padding: `masked`; `read`: attention and convolutions read the places behind a text like words, up to its full
            length, and topics that an article lacks like any topic; `convolved`: convolutions alone read them.
        padding_row: `fixed`, the embeddings' rows of id 0 take no gradient, and those of topics and users count as
            zeros; `learnt`, they are rows like any other.
        unknown: what a word outside the vocabulary is: one more word (`word`), or padding at its place (`padding`).
        words: the vocabulary; word i has id i + 2 (0 is padding, 1 any other word).
        categories, subcategories: name i has id i + 1 (0 is none or unknown).
    """

    tokeniser: str = field(default="regex", metadata={"choices": ("regex", "whitespace", "parsed", "pretrained")})
    pretrained: str = ""
    title_length: int = field(default=30, metadata={"least": 1})
    body_length: int = field(default=50, metadata={"least": 1})
    padding: str = field(default="masked", metadata={"choices": ("masked", "read", "convolved")})
    padding_row: str = field(default="fixed", metadata={"choices": ("fixed", "learnt")})
    unknown: str = field(default="word", metadata={"choices": ("word", "padding")})
    words: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subcategories: tuple[str, ...] = ()

    @property
    def read_to(self) -> dict[str, int | None]:
        """View -> the length up to which its padding is read, None where padding is masked."""
        read = self.padding != "masked"
        return {"title": self.title_length if read else None, "body": self.body_length if read else None}


@dataclass(frozen=True)
class Habits:
    """What the layers of another code base do otherwise than ours; one value says it for all its architectures.

    Attributes:
        weights: of self-attentions, see `layers.SelfAttention`; `user_weights` over the history, '' for the same.
        output_projection, bias: whether self-attentions end in a linear layer, and have biases.
        epsilon: of additive attentions, see `layers.AdditiveAttention`.
        view_attention: `additive`, or `dot`: dot products with one query.
        shared_texts: whether title and body go through one encoder.
        shared_topics: whether category and subcategory look up one embedding (their names are then one list).
        shared_dense: whether category and subcategory go through one dense layer as well (NAML).
        order: the views in the order in which their vectors make up an article's (LSTUR); () for title, body,
            category, subcategory.
        gru: `reset_after`, torch's own; `reset_first`, see `layers.ResetFirstGRU`.
        skip_empty: whether the GRU passes over articles whose vector is zero; where it has none left, it gives zeros.
        tokens_across: whether attention over tokens runs across the articles of a history, or of the candidates, in the
            place of a text's layers (`models/across.py`).
        user: what makes a user's vector: '' for the architecture's layers; `mean` of the history's articles.
    """

    weights: str = field(default="softmax", metadata={"choices": ("softmax", "exp", "transposed")})
    user_weights: str = field(default="", metadata={"choices": ("", "softmax", "exp", "transposed", "itself")})
    output_projection: bool = False
    bias: bool = True
    epsilon: float = field(default=0.0, metadata={"least": 0})
    view_attention: str = field(default="additive", metadata={"choices": ("additive", "dot")})
    shared_texts: bool = False
    shared_topics: bool = False
    shared_dense: bool = False
    order: tuple[str, ...] = ()
    gru: str = field(default="reset_after", metadata={"choices": ("reset_after", "reset_first")})
    skip_empty: bool = False
    user: str = field(default="", metadata={"choices": ("", "mean")})
    tokens_across: bool = False


HABITS_OF = {  # those that an architecture has a layer for
    "nrms": ("weights", "user_weights", "output_projection", "bias", "epsilon", "user", "tokens_across"),
    "naml": ("view_attention", "shared_texts", "shared_topics", "shared_dense", "epsilon", "user", "tokens_across"),
    "lstur": ("gru", "skip_empty", "shared_topics", "order", "epsilon", "user", "tokens_across"),
}


@dataclass(frozen=True)
class ModelConfig:
    """One model: architecture, what it reads of an article, its layer sizes, its text and its users.

    Attributes:
        architecture: nrms, naml or lstur.
        views: which parts of an article are read, any of title, body, category, subcategory.
        sizes: the keyword arguments of the architecture's sizes class; absent ones are the paper's. Of an own model,
            those of `build_own`. A habit of the architecture's may stand here too.
        text: how articles become integers.
        max_history: a history is cut to so many articles.
        history_truncation: `first` keeps the oldest, `last` the newest.
        history_padding: `none`; `left`: articles without any text fill a history up to `max_history` from the left,
            and are encoded and read like any other; `left_cut`: of that, the first so many as the history has articles
            (at least one).
        users: user i has number i + 1 in the user embedding (LSTUR); 0 is an unknown user.
        loss: the click loss it was trained with (recorded; the analysis has its own key).
        frozen: name patterns of parameters that were not trained.
        habits: what its code base does otherwise than ours.
    """

    architecture: str = field(metadata={"choices": ARCHITECTURES})
    views: tuple[str, ...] = ("title",)
    sizes: dict[str, Any] = field(default_factory=dict)
    text: TextConfig = field(default_factory=TextConfig)
    max_history: int = field(default=50, metadata={"least": 1})
    history_truncation: str = field(default="first", metadata={"choices": ("first", "last")})
    history_padding: str = field(default="none", metadata={"choices": ("none", "left", "left_cut")})
    users: tuple[str, ...] = ()
    loss: str = "softmax"
    frozen: tuple[str, ...] = ()
    habits: Habits = field(default_factory=Habits)

    def write(self, path: str | Path) -> None:
        """Write the configuration as JSON that `read_model_config` reads back."""
        with replacing(Path(path)) as temporary:
            temporary.write_text(json.dumps(self.recorded(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def recorded(self) -> dict[str, Any]:
        """The configuration as JSON types, habits that are not ours among the sizes: what files and digests are of."""
        content, plain = dataclasses.asdict(self), dataclasses.asdict(Habits())
        habits, own = content.pop("habits"), HABITS_OF.get(self.architecture, ())
        content["sizes"] |= {name: habits[name] for name in own if habits[name] != plain[name]}
        return content

    def told(self) -> dict[str, Any]:
        """As `recorded`, for a reader: of words, topics and users only how many there are."""
        content = self.recorded()
        for part, names in ((content, ("users",)), (content["text"], ("words", "categories", "subcategories"))):
            part.update({name: len(part[name]) for name in names})
        return content


def read_model_config(path: str | Path) -> ModelConfig:
    """The model configuration in a JSON (or YAML) file.

    Raises:
        ConfigError: the file is missing or malformed, or any key is wrong.
    """
    return build(ModelConfig, read_mapping(path), str(path))
