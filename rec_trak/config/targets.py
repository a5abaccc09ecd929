"""How a configuration names a set of recommendations to explain. Not here: reading what it names."""

from __future__ import annotations

from dataclasses import dataclass, field

from rec_trak.errors import ConfigError

KINDS = ("csv", "mind", "log", "article", "explain")
DATA_SETS = ("train", "val", "train_clean", "train_poisoned", "val_clean", "val_poisoned")


@dataclass(frozen=True)
class TargetSet:
    """One value under `targets`; exactly one of KINDS is given.

    Attributes:
        csv: a pairwise CSV; every click in it is a target, as with a plain file name.
        mind, log: a click log of any format that has one, or a folder that holds it, and its articles where it has some
            of its own; every click is a target. The two are the same.
        article: the id of an article; its exposure to `users` is explained, one target an impression of theirs.
        users: a pairwise CSV, a log or its folder as for `log`, or the name of a data set of the run's own tree
            (DATA_SETS; `train` and `val` are those of the data set that is analysed).
        explain: a CSV with a line a target: user_id, history_ids, candidate_ids, explained_id.
        count: at most so many of the targets, drawn with the run's seed, in their own order; None for all.
    """

    csv: str | None = None
    mind: str | None = None
    log: str | None = None
    article: str | int | None = None
    users: str | None = None
    explain: str | None = None
    count: int | None = field(default=None, metadata={"least": 1})

    @property
    def kind(self) -> str:
        """Which of KINDS it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


def check_target_set(name: str, wanted: TargetSet, where: str) -> None:
    """Refuse a definition that says too little or too much.

    Raises:
        ConfigError: none or several of KINDS, or `article` and `users` without each other.
    """
    given = [kind for kind in KINDS if getattr(wanted, kind) is not None]
    if len(given) != 1:
        raise ConfigError(
            f"{where}: `targets.{name}` must say one thing. Got {' and '.join(given) or 'none'}, expected exactly one "
            f"of {', '.join(KINDS)}. Make several sets of it, or say what it is."
        )
    if (wanted.article is None) != (wanted.users is None):
        got = "users" if wanted.article is None else "article"
        raise ConfigError(
            f"{where}: `targets.{name}` explains the exposure of an article to users. Got `{got}` alone, expected "
            "`article` and `users`. Give both."
        )
