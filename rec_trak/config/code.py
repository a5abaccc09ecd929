"""The user's own code, by the names that a YAML gives: found and imported. Not here: what it is for.

Only the YAML (or the user's own Python) decides what is imported, never a checkpoint, a model.json or a results folder.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from rec_trak.errors import ConfigError, told
from rec_trak.words import quoted


def imported(spec: Any, key: str, where: str) -> Callable:
    """What `package.module:Name` stands for, imported as `python -m` would: from the working directory first.

    Args:
        spec: the name.
        key, where: the key of the YAML that says it, and the file, for messages.

    Raises:
        ConfigError: it is no such name, the module cannot be imported, or it has nothing of that name to call.
    """
    module, _, name = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise ConfigError(
            f"{where}: `{key}` is not a name to import. Got {quoted(spec)}, expected 'package.module:Name'. Put a "
            "colon between module and name."
        )
    if sys.path[:1] not in ([""], [os.getcwd()]):
        sys.path.insert(0, os.getcwd())
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # whatever the module's own code raises
        raise ConfigError(
            f"{where}: `{key}`: `{module}` cannot be imported. Got {told(error)}, expected a module that is installed "
            "or lies in the working directory. Mend the name, or start from the folder that it lies in."
        ) from error
    found = getattr(imported, name, None)
    if not callable(found):
        close = difflib.get_close_matches(name, dir(imported), n=1)
        raise ConfigError(
            f"{where}: `{key}`: `{module}` has no class or function `{name}`. Got "
            f"{'no such name' if found is None else type(found).__name__}, expected something to call."
            + (f" Did you mean `{close[0]}`?" if close and close[0] != name else " Mend the name.")
        )
    return found
