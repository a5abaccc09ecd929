"""Which gradient path an own model gets for each kind of layer, and what is said where none runs, as docs/layers.md.

python benchmarks/layers.py > docs/layers.md

The layers stand in layer_models.py. Not here: how fast the paths are (featurize.py).
"""

import re
import sys
import warnings
from dataclasses import dataclass

import torch
from layer_models import KINDS, MODELS, make, rows

from rec_trak.errors import RecTrakError, RecTrakWarning
from rec_trak.gradients.computers import select_parameters
from rec_trak.gradients.preflight import PATHS, choose_gradient
from rec_trak.models.tables import standing_still

BATCH = 8
TOLD = {"batch-mates": "p", "changes its buffers": "b", "table(s) that a pass changes": "t"}
SHORT = (  # what a message says, in few words
    (r".*cannot take this model apart: `[^`]*` in (\w+).*", r"unknown: `\1`"),
    (r".*differs from plain autograd.*", "other numbers"),
    (r".*not finite beside other rows.*", "NaN beside others"),
    (r".*a leaf Variable that requires grad.*|.*changed in place.*", "changed in place"),
    (r".*vmap: It looks like you're .*", "reads values under vmap"),
    (r".*Recomputed values.*", "recomputed unwatched"),
    (r".*don't yet support saved tensor hooks.*|.*saved tensor hooks.*|.*yet support sav.*", "saved tensor hooks"),
    (r".*doesn't match the broadcast shape.*", "a state for all rows"),
    (r".*stack expects each tensor to be equal size.*", "as long for all rows"),
    (r"`grad_wrt`: .*", "refused"),
)
HEAD = """# Layers of own models, tried

`python benchmarks/layers.py > docs/layers.md` wrote this with torch {torch}; `tests/gradients/test_layers.py` holds it.

One own model a layer: titles through the layer and a mean over words, histories through a second such layer and a
mean over articles, dot products. Eight rows of unlike lengths, a batch of eight, softmax loss. The first row is full,
has no history, has titles of one word (as all rows have then), or reads titles of padding alone. A path counts where
gradients and Q of rows together, alone and in a batch are plain autograd's of the row alone, to 1e-4 of its norm; so
paths that run agree.

- **p**: told that padding or other rows change a row's gradient; the loop's is that of the row alone, without padding.
  A layer that reads over words without a mask does that: convolutions whose padding is not zero, attention without a
  mask, norms over words, and NaN at places that nothing reads.
- **b**: told that a pass changes buffers. **t**: told that a table shortens itself, and is held still.
- **none**: refused, with a message below.
"""


@dataclass(frozen=True)
class Taken:
    """What a model gets for rows of one kind.

    Attributes:
        path: the one taken, or `none`.
        marks: letters of what was told.
        message: the error where none runs.
    """

    path: str
    marks: str = ""
    message: str = ""

    def __str__(self) -> str:
        return self.path + (f" ({', '.join(self.marks)})" if self.marks else "")


def taken(name: str, kind: str, wanted: str = "auto") -> Taken:
    """What the model `name` gets for rows of a kind."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = standing_still(make(name), "`model`")
            names = select_parameters(model, None)
            path = choose_gradient(wanted, model, "softmax", rows(kind), names, BATCH, "cpu").name
        except RecTrakError as error:
            return Taken("none", message=str(error))
    said = [str(w.message) for w in caught if issubclass(w.category, RecTrakWarning)]
    return Taken(path, "".join(mark for words, mark in TOLD.items() if any(words in one for one in said)))


def short(message: str) -> str:
    """Why a path does not run, in few words that no run changes."""
    for pattern, words in SHORT:
        if re.fullmatch(pattern, message, flags=re.DOTALL):
            return re.sub(pattern, words, message, flags=re.DOTALL)
    return message


def line(name: str) -> tuple[str, dict[str, str]]:
    """A layer's line of the table, and its messages: kind -> text."""
    kinds = {kind: taken(name, kind) for kind in KINDS}
    paths = [taken(name, KINDS[0], path) for path in PATHS]
    cells = [str(one) for one in kinds.values()] + [short(one.message) if one.message else "runs" for one in paths]
    return f"| {name} | {' | '.join(cells)} |", {kind: one.message for kind, one in kinds.items() if one.message}


def main() -> None:
    torch.set_num_threads(1)
    print(HEAD.format(torch=torch.__version__.partition("+")[0]))
    columns = ["layer", *KINDS, *(f"`{path}`, full rows" for path in PATHS)]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    told: dict[str, list[str]] = {}
    for name in MODELS:
        text, messages = line(name)
        print(text, flush=True)
        for kind, message in messages.items():
            told.setdefault(message, []).append(f"{name}, {kind}")
    print("\n## What is said where none runs\n")
    for message, names in told.items():
        print(f"- {'; '.join(names)}:\n  > {message}")


if __name__ == "__main__":
    sys.exit(main())
