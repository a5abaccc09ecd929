"""A model's passes as they are in training: with torch's layers, and without its short cuts. Not here: gradients.

In eval mode, where nothing needs a gradient, torch's attention and transformer layers take another path of their own.
It gives zeros at padded places where the layers give numbers, NaN or an error where all places are padded (a user
without a history), and it is left as soon as a mode watches. Numbers would then depend on who looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def as_trained() -> Iterator[None]:
    """Inside, torch's layers compute what they compute with gradients; the process's own setting comes back."""
    held = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(held)


@contextmanager
def values_only() -> Iterator[None]:
    """`as_trained`, without a graph."""
    with torch.no_grad(), as_trained():
        yield
