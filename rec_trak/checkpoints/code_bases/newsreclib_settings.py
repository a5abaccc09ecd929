"""Where newsreclib's users have its settings: Hydra's config.yaml, Lightning's checkpoints, a file of their own.

Not here: what the keys do to a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rec_trak.checkpoints.carried import plain_settings
from rec_trak.checkpoints.code_bases.turns import above, found
from rec_trak.config.sections import OPEN, SectionsError, flat
from rec_trak.data.articles import Articles
from rec_trak.errors import ConfigError
from rec_trak.words import quoted

SECTIONS = ("data", "model")  # of what Hydra composes
FOLDER = "data_dir"
LAYER = re.compile(r"\blayer\.(\d+)\.")


@dataclass(frozen=True)
class Settings:
    """The keys of its model's and data's configuration that decide scores, and where its dictionaries lie.

    That is `data`, a folder; or the one below `data_dir` that its code makes; or the articles' own folder. None: not
    said. What the tensors tell too must agree with them.
    """

    max_history_len: int = field(metadata={"least": 1})
    data: str | None = None
    data_dir: str | None = None
    dataset_size: str | None = None
    max_title_len: int | None = field(default=None, metadata={"least": 1})
    max_abstract_len: int | None = field(default=None, metadata={"least": 1})
    use_plm: bool | None = None
    plm_model: str | None = None
    frozen_layers: list[int] | None = None
    tokenizer_name: str | None = None
    tokenizer_max_len: int | None = field(default=None, metadata={"least": 1})
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


def dictionaries(given: Settings, files: Sequence[str], articles: Articles, where: str) -> Path:
    """The folder with the dictionaries: the one that is named, else below `data_dir`, else that of the articles or, as
    for Adressa, the one above.

    Args:
        given: the settings.
        files: those that are read there; the first is looked for. Without any the folder is of no account.
        articles, where: as `describe`.

    Raises:
        ConfigError: it is in none of them.
    """
    data_dir, size = given.data_dir, given.dataset_size
    if given.data is not None:
        return found(given.data, where)
    beside = Path(articles.source).parent
    places = [beside, beside.parent]
    told = f"`{FOLDER}` {quoted(data_dir)}"
    if data_dir is not None and OPEN in data_dir:
        told = data_dir
    elif data_dir is not None:
        root = found(data_dir, where)
        places = [root / f"MIND{size}_train", root / f"Adressa_{size}", root, *places]
    if not files:
        return places[0]
    there = next((place for place in places if (place / files[0]).is_file()), None)
    if there is None:
        raise ConfigError(
            f"{where}: missing key `data`, the folder with {files[0]}. Got {told}, expected "
            f"the file below it or beside {articles.source}. Write `{FOLDER}` as the folder is called here, or put the "
            "dictionaries beside the articles."
        )
    return there


def language_model(given: Settings, where: str) -> dict[str, Any]:
    """The fields of our `TextConfig` for texts that a language model reads.

    Raises:
        ConfigError: its tokeniser is another model's.
    """
    if given.tokenizer_name is not None and Path(given.tokenizer_name).name != Path(given.plm_model).name:
        raise ConfigError(
            f"{where}: the tokeniser is another model's. Got `tokenizer_name` {quoted(given.tokenizer_name)} and "
            f"`plm_model` {quoted(given.plm_model)}, expected one folder or hub name. Put both into one folder, and "
            "name that as both."
        )
    return {"tokeniser": "pretrained", "pretrained": str(above(given.plm_model, where))}


def frozen_names(layers: Sequence[int], names: Iterable[str]) -> tuple[str, ...]:
    """Patterns of our parameters that its `frozen_layers` are; numbers without a layer are none, as there."""
    there = {int(found) for name in names if ".plm_model." in name for found in LAYER.findall(name)}
    return tuple(f"word_embedding.lm.*layer.{layer}.*" for layer in sorted(set(layers) & there))
