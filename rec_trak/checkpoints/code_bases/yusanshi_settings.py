"""The constants of one of yusanshi's models, out of its src/config.py, of the same as JSON, or of a flat file.

Not here: what the constants mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rec_trak.config.sections import flat, has_sections
from rec_trak.errors import ConfigError, listed

FOR_ALL = ("base", "common")  # classes or sections for all models
FED = "dataset_attributes"  # under `news`, what its models read of an article


def constants(settings: Mapping[str, Any], architecture: str, keys: Iterable[str], where: str) -> dict[str, Any]:
    """The model's constants: all of a flat file, else `keys` from its own class or section, else from those for all.

    Args:
        settings: name -> constant, or -> the constants of a class (`NRMSConfig`, `BaseConfig`) or section (`NRMS`).
        architecture: nrms, naml or lstur.
        keys: the constants that are wanted.
        where: the file, for messages.

    Raises:
        ConfigError: as `sections.flat`, or classes without one for this model.
    """
    if not has_sections(settings):
        return flat(settings, settings, where)
    parts = {name: part for name, part in settings.items() if isinstance(part, dict)}
    short = {name: str(name).lower().removesuffix("config") for name in parts}
    own = [name for name in parts if short[name] == architecture]
    if not own:
        name = architecture.upper()
        raise ConfigError(
            f"{where}: no settings of {name}, which the checkpoint is. Got {listed('section(s)', map(str, parts))}, "
            f"expected one named `{name}Config` or `{name}`. Give the src/config.py that it was trained with."
        )
    kept = {name: dict(part) for name, part in parts.items() if name in own or short[name] in FOR_ALL}
    for part in kept.values():
        fed = part.get(FED)
        part |= {"news": fed["news"]} if isinstance(fed, dict) and "news" in fed else {}
    top = {name: value for name, value in settings.items() if name not in parts}
    return flat(top | kept, keys, where, own)
