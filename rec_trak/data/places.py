"""Which click log a name means: a data set of a tree of any format, or a path. Not here: reading it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path

from rec_trak.config.targets import DATA_SETS
from rec_trak.data.adressa import event_files
from rec_trak.data.ebnerd import BEHAVIORS as EBNERD_BEHAVIORS
from rec_trak.data.parsed import PARSED_BEHAVIORS
from rec_trak.data.prepared import NAMED, prepared_logs
from rec_trak.disk import absent
from rec_trak.errors import DataError
from rec_trak.words import LINE, QUOTE, plain, quoted

BEHAVIORS = "behaviors.tsv"
SUFFIXES = (".csv", ".tsv", ".parquet")
SPLITS = {"train": ("train",), "val": ("validation", "val", "dev", "valid")}  # folders that a data set may lie in
FILES = {  # format -> the logs in one folder, where a folder is a data set
    "mind": lambda folder: _there(folder / BEHAVIORS),
    "ebnerd": lambda folder: _there(folder / EBNERD_BEHAVIORS),
    "adressa_newsreclib": prepared_logs,
    "adressa": lambda folder: [folder] if event_files(folder) else [],
    "parsed": lambda folder: _there(folder / PARSED_BEHAVIORS),
}  # fmt: skip
SHOWN = {"adressa_newsreclib": "behaviors_<seed>.tsv", "adressa": "20170106", "mind": BEHAVIORS} | {
    "ebnerd": EBNERD_BEHAVIORS, "parsed": PARSED_BEHAVIORS
}  # fmt: skip
FOUND = ("ebnerd", "adressa_newsreclib", "adressa")  # by `auto`, behind MIND and pairwise trees
NAMES = 12  # of data sets that a message lists


def _there(path: Path) -> list[Path]:
    return [path] if path.is_file() else []


def data_format(data_path: str | Path, dataset_type: str, wanted: str = "auto") -> str:
    """The format of a data set: what was asked for, or else what the file that it names is, or what lies in the tree.

    Where a tree has several, MIND goes before pairwise, and both before the others; where it has none it is `pairwise`.
    yusanshi's `parsed` is found by its path alone, since it stands beside MIND's own files.
    """
    if wanted != "auto":
        return wanted
    root = Path(data_path)
    path = _by_path(root, dataset_type)
    if path is not None and path.is_file():
        return _form_of_file(path)
    root, dataset_type = (root, dataset_type) if path is None else (path, "train")
    if _in_folders(root, dataset_type, "mind"):
        return "mind"
    if any(place.is_file() for place in _tables(root, dataset_type)):
        return "pairwise"
    return next((form for form in FOUND if _in_folders(root, dataset_type, form)), "pairwise")


def click_log_path(data_path: str | Path, dataset_type: str, wanted_format: str = "auto") -> Path:
    """The file that holds the clicks of one data set of a tree, or their folder where they are files of days.

    Args:
        data_path: the tree.
        dataset_type: the name of a data set; or a path below the tree or from the working directory, of a click log
            or of a folder that holds one.
        wanted_format: as `data_format`.

    Raises:
        DataError: there is no such log, or there are several.
    """
    root = Path(data_path)
    if not dataset_type.strip():
        raise DataError(f"{root}: no click log is named. Got {quoted(dataset_type)} as `--dataset_type`. Name one.")
    form = data_format(root, dataset_type, wanted_format)
    path = _by_path(root, dataset_type)
    if path is None and _is_path(dataset_type):
        raise _no_path(root, dataset_type)
    if path is not None and path.is_file():
        return path
    inside, name = (root, dataset_type) if path is None else (path, "train")
    if form == "pairwise":
        places = _tables(inside, name)
        found = [place for place in places if place.is_file()][:1]
    else:
        places = [folder / SHOWN[form] for folder in _folders(inside, name, form)]
        found = _in_folders(inside, name, form)
    if len(found) > 1:
        raise DataError(
            f"{found[0].parent}: several click logs. Got {', '.join(each.name for each in found)}, expected one. Give "
            "the path of one as `--dataset_type`."
        )
    if not found:
        raise _no_log(root, dataset_type, places)
    return found[0]


def log_of_impressions(place: str | Path) -> tuple[str, Path]:
    """The format and the log of a folder that holds a log of impressions, or of such a log itself.

    Raises:
        DataError: there is none, or there are several.
    """
    place = Path(place)
    if place.is_file():
        return _form_of_file(place), place
    for form in ("mind", "ebnerd", "adressa_newsreclib"):
        if found := FILES[form](place):
            return form, click_log_path(place, found[0].name if len(found) == 1 else "train", form)
    names = ", ".join(SHOWN[form] for form in ("mind", "ebnerd", "adressa_newsreclib"))
    raise DataError(f"{place}: no log of impressions. Got none of {names}, expected one. Mend the path.")


def plain_name(dataset_type: str) -> str:
    """The data set's name in the names of files and folders: a path's own, of `behaviors` files their folder's."""
    path = Path(dataset_type)
    if path.name == dataset_type and path.suffix not in SUFFIXES:
        return dataset_type
    stem = path.stem if path.suffix in SUFFIXES else path.name
    chosen = path.parent.name if stem.split("_")[0] == "behaviors" and path.parent.name else stem
    return re.sub(r"[^\w.-]", "_", chosen).strip(".") or "log"


def validation_name(dataset_type: str) -> str | None:
    """The name of the validation set beside a training set; None where the name does not say that it is one."""
    head, train, tail = dataset_type.rpartition("train")
    return f"{head}val{tail}" if train else None


def data_sets(root: Path) -> list[str]:
    """The names of the data sets of a tree, in order."""
    if not root.is_dir():
        return []
    names = [path.stem for folder in (root / "models", root) for path in sorted(folder.glob("*.csv")) if _is_log(path)]
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    names += [folder.name for folder in folders if _holds_log(folder)]
    own = ["train_clean"] if _holds_log(root) else []
    return list(dict.fromkeys([*own, *names]))


def _holds_log(folder: Path) -> bool:
    try:
        return any(find(folder) for find in FILES.values())
    except OSError:  # a folder that is not the user's is none of theirs
        return False


def _is_log(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.readline(LINE)
    except OSError:
        return False
    return b"candidate_id" in head and b"user_id" in head


def _by_path(root: Path, name: str) -> Path | None:
    """The log or the folder that a name means as a path; None where it is a mere name, or nothing is there."""
    if not _is_path(name):
        return None
    places = (root / name, root / "models" / name, Path(name))
    return next((place for place in places if place.exists()), None)


def _is_path(name: str) -> bool:
    return bool(name) and (Path(name).name != name or Path(name).suffix in SUFFIXES)


def _form_of_file(path: Path) -> str:
    if path.name == PARSED_BEHAVIORS:
        return "parsed"
    if NAMED.fullmatch(path.name):
        return "adressa_newsreclib"
    return {".tsv": "mind", ".parquet": "ebnerd"}.get(path.suffix, "pairwise")


def _tables(root: Path, name: str) -> list[Path]:
    return [root / "models" / f"{name}.csv", root / f"{name}.csv"]


def _folders(root: Path, name: str, form: str) -> list[Path]:
    """Where a data set may lie that is a folder. A tree that is one log has it under the usual names alone, so that a
    name that is mistyped is none."""
    if name not in DATA_SETS:
        return [root / name]
    part = name.split("_")[0]
    splits = () if form == "mind" else (part,) if form == "parsed" else SPLITS[part]
    return list(dict.fromkeys([root / name, *(root / split for split in splits), root]))


def _in_folders(root: Path, name: str, form: str) -> list[Path]:
    """The logs of the first of those folders that has any."""
    find: Callable[[Path], list[Path]] = FILES[form]
    return next((found for folder in _folders(root, name, form) if (found := find(folder))), [])


def _no_path(root: Path, name: str) -> DataError:
    """What a path that leads nowhere is told: what lies in its folder, or the data sets of the tree."""
    folders = [place.parent for place in (root / name, root / "models" / name, Path(name)) if place.parent.is_dir()]
    beside = [path.name for folder in folders for path in folder.iterdir()]
    close = difflib.get_close_matches(Path(name).name, beside, n=1)
    meant = f" Did you mean {quoted(str(Path(name).with_name(close[0])))}?" if close else ""
    return DataError(
        f"{plain(name, QUOTE)}: no click log. Got a path that is neither below {root} nor in the working directory, "
        f"expected one that is. There are: {_listed(data_sets(root)) or 'no data sets'}.{meant} Mend `--dataset_type`."
    )


def _listed(names: list[str]) -> str:
    return ", ".join(plain(one, QUOTE) for one in names[:NAMES]) + (", ..." if len(names) > NAMES else "")


def _no_log(root: Path, name: str, places: list[Path]) -> DataError:
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else absent(root)
        return DataError(f"{root}: {what}. Got no folder with a click log, expected one. Check `data_path`.")
    wanted = " or ".join(str(place.relative_to(root) if place.is_relative_to(root) else place) for place in places)
    there = data_sets(root)
    if not there:
        do = "Check `data_path`."
    else:
        close = difflib.get_close_matches(name, there, n=1)
        meant = f" Did you mean {quoted(close[0])}?" if close else ""
        do = f"There are: {_listed(there)}.{meant} Give one of them as `--dataset_type`, or a path."
    got = f"no {wanted}, expected it" if len(places) == 1 else f"neither {wanted}, expected one of them"
    return DataError(f"{root}: no click log. Got {plain(got, LINE // 4)}. {do}")
