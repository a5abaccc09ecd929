"""What lies where people keep it: kinds of checkpoints, click logs, settings, target sets. Not here: reading data.

A guess from where a file lies is only proposed; who proposes it tries it first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rec_trak.checkpoints.carried import MODEL_JSON, kind_of
from rec_trak.checkpoints.code_bases.known import CODE_BASES, recognise_checkpoint, without_wrappers
from rec_trak.checkpoints.files import read_checkpoint_file
from rec_trak.checkpoints.info import describe_checkpoint
from rec_trak.checkpoints.source import OURS, read_settings
from rec_trak.config.analysis import DATASET_TYPES, MODEL_TYPES
from rec_trak.config.model import ModelConfig
from rec_trak.data.parsed import PARSED_BEHAVIORS
from rec_trak.data.places import FILES, SHOWN, click_log_path, data_format, data_sets
from rec_trak.data.sources import LINES, article_table
from rec_trak.errors import ConfigError, DataError

BELOW = ("", "train", "MINDsmall_train", "MINDlarge_train", "MINDdemo_train")  # where a tree may keep its click log
SETTINGS = {  # where users of a code base have its settings, from a folder above the checkpoint or beside the data
    "yusanshi": ("src/config.py", "config.py", "config.json", "*.yaml"),
    "newsreclib": (".hydra/config.yaml", "config.yaml", "*.yaml"),
    "plm4newsrs": ("*.yaml", "configs/*.yaml"),
    "keras": ("*.yaml", "*.yml"),
}
OTHERS = ("val", "test", "dev", "benchmark")  # which data sets of a tree nobody trained on
SPLITS = ("dev", "val", "valid", "validation")
ABOVE, TRIED = 4, 20  # folders above a checkpoint, and files, that are looked at
SAMPLE = 500  # targets of a set that may be large


@dataclass(frozen=True)
class Seen:
    """A checkpoint as far as it says what it is.

    Attributes:
        path: the file.
        code_base, architecture: as `describe_checkpoint`, None where they are not known.
        kind: `clean` or `poisoned`.
        why: what says so, as the end of a sentence.
        settings: what it carries of what decides scores.
    """

    path: Path
    code_base: str | None
    architecture: str | None
    kind: str
    why: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    """A data tree.

    Attributes:
        root: what `data_path` would be.
        keys: those of the YAML that name it.
        logs: data set -> its click log; one log may stand for several data sets.
    """

    root: Path
    keys: dict[str, str]
    logs: dict[str, Path]

    def set_for(self, kind: str) -> str:
        """The data set that a model of this kind was trained on, or else the one that is there."""
        wanted = f"train_{kind}"
        return wanted if wanted in self.logs else next(iter(self.logs))


def look_at(paths: list[Path]) -> list[Seen]:
    """What each checkpoint is; which kind, where none says so, follows from the others, or is clean.

    Raises:
        CheckpointError: a file cannot be read.
    """
    told = [_look_at(path) for path in paths]
    known = {kind for *_, kind, _ in told if kind}
    unknown = [path for path, *_, kind, _ in told if kind is None]
    rest = next(k for k in MODEL_TYPES if k not in known) if len(known) == 1 and len(unknown) == 1 else MODEL_TYPES[0]
    seen = []
    for path, base, architecture, settings, kind, why in told:
        guessed = f"which nothing says: it is taken for the {rest} one"
        reason = (why or "by its name") if kind else guessed
        seen.append(Seen(path, base, architecture, kind or rest, reason, settings))
    return seen


def _look_at(path: Path) -> tuple[Path, str | None, str | None, dict[str, Any], str | None, str]:
    described = describe_checkpoint(path)
    file = read_checkpoint_file(path)
    found = recognise_checkpoint(without_wrappers(file.state, str(path))[0])
    settings: dict[str, Any] = {}
    if found is not None and hasattr(found[0], "carried"):
        held = found[0].carried(file.extras)
        keys = (*found[0].decisive(found[1], held)[0], *found[0].decisive(found[1], held)[1])
        settings, carried = {key: held[key] for key in keys if key in held}, held
    else:
        carried = {}
    return path, described["code_base"], described["architecture"], settings, *kind_of(path, carried)


def find_data(folder: Path, code_base: str | None) -> Data:
    """The click logs of a folder, or of the folder in it where such trees keep them.

    Raises:
        ConfigError: there are none.
    """
    for root in (folder / name for name in BELOW):
        parsed = code_base == "yusanshi" and (
            (root / PARSED_BEHAVIORS).is_file() or (root / "train" / PARSED_BEHAVIORS).is_file()
        )
        kind = "parsed" if parsed else data_format(root, DATASET_TYPES[0])
        logs = _logs(root, DATASET_TYPES, kind)
        if not logs and kind == "pairwise":
            logs = _logs(root, [name for name in data_sets(root) if not name.startswith(OTHERS)], kind)
        if logs:
            keys = {"data_path": str(root), "data_format": kind}
            if (kind, code_base) == ("ebnerd", "keras"):  # as ebnerd-benchmark trains
                keys["missing_articles"] = "blank"
            articles = _articles(root, kind, next(iter(logs.values())))
            return Data(root, keys | ({} if articles is None else {"news_items_path": str(articles)}), logs)
    raise ConfigError(
        f"{folder}: no click log in this folder. Got neither models/train_clean.csv, train_clean.csv nor "
        f"{', '.join(SHOWN[form] for form in (*LINES, 'adressa'))}, expected one. Name the folder of the data last."
    )


def _logs(root: Path, names: Iterable[str], kind: str) -> dict[str, Path]:
    """Those of the data sets that are there, and their click logs."""
    logs = {}
    for name in names:
        with suppress(DataError):
            logs[name] = click_log_path(root, name, kind)
    return logs


def holds_data(folder: Path) -> bool:
    """Whether a folder is a data tree rather than a checkpoint."""
    try:
        return bool(find_data(folder, "yusanshi"))
    except ConfigError:
        return False


def _articles(root: Path, kind: str, log: Path) -> Path | None:
    if kind in ("parsed", "adressa"):
        return None
    table = article_table(root, log, kind)
    folders = [root, root / "models", root.parent] if kind == "pairwise" else [table.parent]
    return next((place / table.name for place in folders if (place / table.name).is_file()), None)


def settings_places(seen: list[Seen], data: Data) -> Iterator[Path | None]:
    """Settings files that could be of the checkpoints, likely ones first; None stands for what they say themselves."""
    first = seen[0]
    beside = first.path.with_name(MODEL_JSON)
    if first.code_base == OURS and beside.is_file():
        yield beside
    yield None
    module = next((module for module in CODE_BASES if first.code_base == module.NAME), None)
    folders = [*list(first.path.parents)[:ABOVE], data.root, data.root.parent]
    places = [
        p for folder in folders for pattern in SETTINGS.get(first.code_base, ()) for p in sorted(folder.glob(pattern))
    ]
    for place in list(dict.fromkeys(places))[:TRIED]:
        if module is not None and place.is_file() and _says_something(module, first.architecture, place):
            yield place


def _says_something(module: Any, architecture: str | None, place: Path) -> bool:
    try:
        said = read_settings(place)
        return not isinstance(said, ModelConfig) and len(module.chosen(said, architecture, str(place))) > 1
    except ConfigError:
        return False


def targets_there(data: Data) -> dict[str, Any]:
    """Name -> definition of the target sets that lie beside the click logs: benchmarks, and validation sets."""
    sets: dict[str, Any] = {}
    for path in sorted(data.root.glob("benchmarks/*.csv")):
        sets[path.stem.removeprefix("benchmark_")] = str(path)
    if data.keys["data_format"] == "pairwise":
        for name in ("val_clean", "val_poisoned"):
            places = (data.root / "models" / f"{name}.csv", data.root / f"{name}.csv")
            there = next((path for path in places if path.is_file()), None)
            sets |= {} if there is None else {name: {"csv": str(there), "count": SAMPLE}}
        return sets
    find = FILES.get(data.keys["data_format"] if data.keys["data_format"] in LINES else "mind")
    folder = next(iter(data.logs.values())).parent
    names = [folder.name.replace("train", new) for new in SPLITS if "train" in folder.name]
    for place in [*(folder.parent / name for name in names), *(folder / name for name in SPLITS)]:
        if len(found := find(place)) == 1 and place != folder:
            key, where = ("mind", place) if find is FILES["mind"] else ("log", found[0])
            sets.setdefault("dev", {key: str(where), "count": SAMPLE})
    return sets
