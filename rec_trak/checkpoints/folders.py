"""A folder where a file of weights should be: what it is, and weights in several files that an index lists.

Not here: the formats of single files.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any, NoReturn

from rec_trak.checkpoints.containers import CheckpointFile
from rec_trak.checkpoints.refusals import EXPECTED, SAVE_H5, unreadable
from rec_trak.config.documents import DocumentError, load_json
from rec_trak.errors import CheckpointError, listed
from rec_trak.words import quoted

INDEX = ".index.json"
LARGEST_INDEX = 2**26  # bytes
WEIGHTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".npz", ".h5", ".keras")
TENSORFLOW_NAME = re.compile(r".*\.(index|data-\d+-of-\d+)")
TENSORFLOW_END = bytes.fromhex("57fb808b247547db")  # the last bytes of a TensorFlow index


def is_of_tensorflow(path: Path) -> bool:
    """Whether the file is an index or the data of a TensorFlow checkpoint."""
    if TENSORFLOW_NAME.fullmatch(path.name):
        return True
    with open(path, "rb") as file:
        file.seek(max(path.stat().st_size - len(TENSORFLOW_END), 0))
        return file.read() == TENSORFLOW_END


def index_in(folder: Path) -> Path:
    """The index of the weights that a folder holds in several files; safetensors go before pickles.

    Raises:
        CheckpointError: there is none, or several; the message says what the folder is and how to make one file of it.
    """
    found = sorted(folder.glob(f"*{INDEX}"))
    of_safetensors = [path for path in found if path.name.endswith(f".safetensors{INDEX}")]
    if len(of_safetensors or found) == 1:
        return (of_safetensors or found)[0]
    if found:
        raise CheckpointError(
            f"{folder}: {listed('indices of weights', (path.name for path in found))}. Got a folder with several, "
            "expected one. Give the path of the one that you mean."
        )
    what, do = _kind(folder)
    raise CheckpointError(f"{folder}: is a folder, {what}. Got no single file of weights, expected one. {do}")


def _kind(folder: Path) -> tuple[str, str]:
    """What a folder is, and what to do."""
    names = sorted(entry.name for entry in folder.iterdir())
    there, given = set(names), quote(str(folder))
    if ".metadata" in there or any(name.endswith(".distcp") for name in names):
        return (
            "a distributed checkpoint as FSDP writes",
            f"Run `python -m torch.distributed.checkpoint.format_utils dcp_to_torch {given} weights.pt` and give "
            "weights.pt.",
        )
    if "zero_to_fp32.py" in there or any(name.endswith("_optim_states.pt") for name in names):
        whole = folder if {"zero_to_fp32.py", "latest"} & there else folder.resolve().parent
        script = whole / "zero_to_fp32.py"
        start = quote(str(script)) if script.is_file() else "-m deepspeed.utils.zero_to_fp32"
        return (
            "a DeepSpeed checkpoint",
            f"Where DeepSpeed is installed, run `python {start} {quote(str(whole))} merged`, and give what it leaves "
            "in the folder merged.",
        )
    if "adapter_config.json" in there:
        return (
            "a peft adapter without the model that it belongs to",
            f"Run `model = peft.PeftModel.from_pretrained(base_model, {str(folder)!r}).merge_and_unload()`, save "
            "`model.state_dict()` with torch.save, and give that file.",
        )
    if "saved_model.pb" in there or any(name.endswith(".index") for name in names):
        return "a TensorFlow checkpoint", SAVE_H5
    if "data.pkl" in there and (folder / "data").is_dir():
        return "a file of PyTorch that was unpacked", "Copy or download the file itself."
    return _of_files(folder, names)


def _of_files(folder: Path, names: list[str]) -> tuple[str, str]:
    """A folder that is no checkpoint, by what lies in it, and in the folder `checkpoints` that Lightning makes."""
    for place in (folder, folder / "checkpoints"):
        inside = sorted(place.iterdir()) if place.is_dir() else []
        files = [path for path in inside if path.suffix in WEIGHTS and path.is_file()]
        if len(files) == 1:
            return "with one file of weights in it", f"Give {files[0]}."
        if files:
            shown, every = listed("files of weights in it", (path.name for path in files), 3), f"*{files[0].suffix}"
            return f"with {shown}", f"Give one, such as {files[-1]}, or several as `checkpoints: {place / every}`."
        folders = [path for path in inside if path.is_dir() and path.name.startswith(("checkpoint-", "global_step"))]
        if folders:
            shown = listed("checkpoints in it", (path.name for path in folders), 3)
            return f"with {shown}", f"Give one of them, such as {folders[-1]}."
    return listed("file(s) in it, none of them weights", names, 3) or "which is empty", EXPECTED


def read_shards(index: Path, read: Callable[[Path], CheckpointFile]) -> CheckpointFile:
    """The weights that an index gives to files beside it: every one once, none that it does not name.

    Args:
        index: `*.index.json` with `weight_map`, as Hugging Face's libraries write.
        read: reads one file.

    Raises:
        CheckpointError: the index is malformed or names a file elsewhere, a file is missing or a link, or does not
            hold what the index says; and as `read`.
    """
    places = _weight_map(index)
    state: dict[str, Any] = {}
    parts = []
    for name in sorted(set(places.values())):
        part = read(_beside(index, name))
        wanted = {weight for weight, file in places.items() if file == name}
        missing = sorted(wanted - part.state.keys())
        ties = {part.state[weight].data_ptr() for weight in wanted & part.state.keys()}
        other = {n: tensor for n, tensor in part.state.items() if n not in wanted}
        beyond = [n for n, tensor in other.items() if n in places or tensor.data_ptr() not in ties]
        if missing or beyond:
            problems = [listed("missing", missing), listed("beyond what it names", beyond)]
            raise CheckpointError(
                f"{index}: `{name}` does not hold what the index says. Got {'; '.join(filter(None, problems))}, "
                f"expected {len(wanted)} weights. Copy or download both again."
            )
        state |= part.state
        parts.append(part)
    classes = tuple(dict.fromkeys(name for part in parts for name in part.pickled_classes))
    shards = f"{parts[0].format}, {len(parts)} file(s)"
    return replace(parts[0], state=state, format=shards, pickled_classes=classes)


def _weight_map(index: Path) -> dict[str, str]:
    """Weight -> the name of a file in the index' folder."""
    _check_file(index, index)
    if index.stat().st_size > LARGEST_INDEX:
        raise unreadable(index, f"its index has {index.stat().st_size:,} bytes", "Copy or download it again.")
    try:
        content = load_json(index.read_bytes())
    except DocumentError as error:
        raise unreadable(index, f"it is not valid json: {error}", "Copy or download it again.") from None
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise unreadable(index, "it has no `weight_map` of weights and files", "Copy or download it again.")
    return places


def _beside(index: Path, name: str) -> Path:
    """The file of that name in the index' folder."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise CheckpointError(
            f"{index}: names a file outside its folder. Got {quoted(name)}, expected a file beside it. Nothing was "
            "read from there; use an index from a source that you trust."
        )
    path = index.with_name(name)
    _check_file(path, index)
    return path


def _check_file(path: Path, index: Path) -> None:
    """Refuse what is no plain file: a link may lead anywhere."""
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        _refuse(path, index, str(error.strerror), "Copy or download it too.")
    if stat.S_ISLNK(mode):
        _refuse(path, index, "it is a link", f"Copy what it leads to: `cp -rL {quote(str(path.parent))} COPY`.")
    if not stat.S_ISREG(mode):
        _refuse(path, index, "it is no file", "Copy or download it again.")


def _refuse(path: Path, index: Path, got: str, do: str) -> NoReturn:
    raise CheckpointError(
        f"{index}: `{path.name}` cannot be read ({got}). Got no file in the same folder, expected one. {do}"
    )
