"""Where newsreclib's users have its settings: Hydra's config.yaml, Lightning's checkpoints, a file of their own.

Not here: what the keys do to a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rec_trak.checkpoints.carried import plain_settings
from rec_trak.checkpoints.code_bases.turns import found
from rec_trak.config.sections import OPEN, SectionsError, flat
from rec_trak.data.articles import Articles
from rec_trak.errors import ConfigError
from rec_trak.words import quoted

SECTIONS = ("data", "model")  # of what Hydra composes
FOLDER = "data_dir"
WORDS_FILE = "word2index.tsv"


@dataclass(frozen=True)
class Settings:
    """The keys of its model's and data's configuration that decide scores, and where word2index.tsv lies.

    That is `data`, a folder; or the one below `data_dir` that its code makes; or the articles' own folder. None: not
    said. What the tensors tell too must agree with them.
    """

    max_history_len: int = field(metadata={"least": 1})
    data: str | None = None
    data_dir: str | None = None
    dataset_size: str | None = None
    max_title_len: int | None = field(default=None, metadata={"least": 1})
    max_abstract_len: int | None = field(default=None, metadata={"least": 1})
    num_heads: int | None = field(default=None, metadata={"least": 1})
    attributes2encode: list[str] | None = None
    embed_dim: int | None = None
    text_embed_dim: int | None = None
    categ_embed_dim: int | None = None
    query_dim: int | None = None
    num_filters: int | None = None
    window_size: int | None = None
    num_categ_classes: int | None = None
    num_users: int | None = None
    long_short_term_method: str | None = None
    dropout_probability: float = field(default=0.2, metadata={"least": 0})
    user_masking_probability: float = field(default=0.5, metadata={"least": 0})
    loss: str = "cross_entropy_loss"


def chosen_keys(settings: Mapping[str, Any], keys: Iterable[str], where: str) -> dict[str, Any]:
    """The values of `keys`, from a flat file or from the sections `data` and `model`.

    Raises:
        ConfigError: as `sections.flat`. `data_dir` is needed only if the dictionaries do not lie beside the articles,
            so that one which cannot be told is kept as the words that say why.
    """
    said = flat(settings, [key for key in keys if key != FOLDER], where, SECTIONS)
    try:
        return said | flat(settings, [FOLDER], where, SECTIONS)
    except SectionsError as error:
        return said | {FOLDER: error.problems[0]}


def hyper_parameters(extras: Mapping[str, Any]) -> dict[str, Any]:
    """What Lightning keeps of the model's and the data module's arguments, as sections."""
    keys = {"model": "hyper_parameters", "data": "datamodule_hyper_parameters"}
    return {section: plain_settings(extras.get(key)) for section, key in keys.items()}


def dictionaries(folder: str | None, data_dir: str | None, size: str | None, articles: Articles, where: str) -> Path:
    """The folder with word2index.tsv: the one that is named, else below `data_dir`, else that of the articles or, as
    for Adressa, the one above.

    Raises:
        ConfigError: it is in none of them.
    """
    if folder is not None:
        return found(folder, where)
    beside = Path(articles.source).parent
    places = [beside, beside.parent]
    told = f"`{FOLDER}` {quoted(data_dir)}"
    if data_dir is not None and OPEN in data_dir:
        told = data_dir
    elif data_dir is not None:
        root = found(data_dir, where)
        places = [root / f"MIND{size}_train", root / f"Adressa_{size}", root, *places]
    there = next((place for place in places if (place / WORDS_FILE).is_file()), None)
    if there is None:
        raise ConfigError(
            f"{where}: missing key `data`, the folder with {WORDS_FILE}. Got {told}, expected "
            f"the file below it or beside {articles.source}. Write `{FOLDER}` as the folder is called here, or put the "
            "dictionaries beside the articles."
        )
    return there
