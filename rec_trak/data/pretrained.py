"""What a language model's folder or hub name holds, and texts as its token ids, kept on disk. Not here: the model.

Nothing from the folder is run. A file in the cache is an .npy array and behind it a hash of its numbers and of what
they are made from: it is mapped into memory, and one that is damaged, or of other texts, is told of and made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from rec_trak.arrays import check_header
from rec_trak.data.cache import cache_folder, open_cached
from rec_trak.disk import replacing
from rec_trak.errors import ConfigError, RecTrakWarning, reason, told

INSTALL = "pip install 'rec-trak[bert]'"
AT_ONCE = 4096
DIGEST = 16
FORMAT = 2  # of a file in the cache


def read_pretrained(pretrained: str, kind: str, **more: Any) -> Any:
    """What transformers' class `kind` (AutoConfig, AutoTokenizer, AutoModel) reads in a folder or under a hub name.

    What this machine already holds of the hub is used; only what it lacks is fetched.

    Raises:
        ConfigError: transformers is not installed, or nothing of that kind can be read; without running any code.
    """
    try:
        import transformers
    except ImportError:
        raise ConfigError(
            f"`pretrained`: language models need transformers, which is not installed. {INSTALL}"
        ) from None
    source, more = getattr(transformers, kind), more | {"trust_remote_code": False}
    folder = Path(pretrained).expanduser()
    try:
        with _quiet():
            if folder.is_dir():
                return source.from_pretrained(str(folder), local_files_only=True, **more)
            try:
                return source.from_pretrained(pretrained, local_files_only=True, **more)
            except OSError:
                return source.from_pretrained(pretrained, **more)
    except Exception as error:  # a damaged or foreign folder makes transformers raise almost anything
        what = "this folder" if folder.is_dir() else "no such folder, and as a name on the hub"
        raise ConfigError(
            f"`pretrained` {pretrained}: {what}: {kind} cannot read it ({told(error)}). Expected a model in Hugging "
            "Face's format with safetensors. Give its folder or hub name; a name needs the network once."
        ) from None


def token_ids(texts: Sequence[str], pretrained: str, length: int) -> np.ndarray:
    """(A, length) int32: each text's token ids plus 1, special tokens among them, cut to `length`; zeros behind.

    Where no text has anything in it but blanks, all is zero. The second time, the ids come from the cache: the folder
    that the environment variable REC_TRAK_CACHE names, else ~/.cache/rec_trak.

    Args:
        texts: A strings.
        pretrained: folder or hub name of the language model.
        length: tokens kept, special ones included.

    Raises:
        ConfigError: transformers is not installed, there is no tokeniser, or `length` has no room for a word.
    """
    if not any(text.strip() for text in texts):
        return np.zeros((len(texts), length), dtype=np.int32)
    tokeniser = read_pretrained(pretrained, "AutoTokenizer")
    special = tokeniser.num_special_tokens_to_add()
    if length <= special:
        raise ConfigError(
            f"`title_length`, `body_length`: no room for a word. Got {length}, expected more than the {special} "
            f"special tokens that {pretrained} puts into each text."
        )
    key = _key(tokeniser, texts, length)
    path = cache_folder() / "tokens" / f"{key}.npy"
    held = _held(path, key, (len(texts), length), _largest(tokeniser))
    if held is not None:
        return held
    ids = np.zeros((len(texts), length), dtype=np.int32)
    for start in range(0, len(texts), AT_ONCE):
        some = list(texts[start : start + AT_ONCE])
        encoded = tokeniser(some, max_length=length, truncation=True, padding=False, return_attention_mask=False)
        for i, tokens in enumerate(encoded["input_ids"], start):
            ids[i, : len(tokens)] = np.asarray(tokens, dtype=np.int32) + 1
    _keep(path, key, ids)
    return ids


def _key(tokeniser: Any, texts: Sequence[str], length: int) -> str:
    """A name for what these texts become: the tokeniser's files, the library that reads them, length and texts."""
    found = hashlib.blake2b(f"{FORMAT} {version('tokenizers')} {length} {len(texts)}".encode(), digest_size=DIGEST)
    with tempfile.TemporaryDirectory() as folder:
        tokeniser.save_pretrained(folder)
        parts = [file.read_bytes() for file in sorted(Path(folder).rglob("*")) if file.is_file()]
    for part in (*parts, *(text.encode("utf-8", "surrogatepass") for text in texts)):
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.hexdigest()


def _largest(tokeniser: Any) -> int:
    """The largest number that `token_ids` gives."""
    return max(len(tokeniser), 1 + max(tokeniser.get_vocab().values(), default=0))


def _held(path: Path, key: str, shape: tuple[int, int], largest: int) -> np.ndarray | None:
    """The array in the cache, None where there is none; another file in its place is warned of."""
    try:
        file = open_cached(path)
        if file is None:
            return None
        with file:
            return _checked(file, key, shape, largest)
    except (OSError, ValueError) as error:
        got = reason(error)
    warnings.warn(
        f"{path}: not the tokens of these texts. Got {got}, expected a file that this command made of them. They are "
        "made again; let nobody else write to that folder.",
        RecTrakWarning,
        stacklevel=3,
    )
    return None


def _checked(file: BinaryIO, key: str, shape: tuple[int, int], largest: int) -> np.ndarray:
    """The array of an open file of the cache.

    Raises:
        ValueError: it is anything else than what `_keep` writes under this key.
    """
    check_header(file)
    file.seek(0)
    if npy.read_magic(file) != (1, 0) or npy.read_array_header_1_0(file) != (shape, False, np.dtype(np.int32)):
        raise ValueError("an array of another shape or kind")
    start, size = file.tell(), 4 * shape[0] * shape[1]
    if os.fstat(file.fileno()).st_size != start + size + DIGEST:
        raise ValueError("a file of another length")
    array = np.memmap(file, dtype=np.int32, mode="r", offset=start, shape=shape)
    file.seek(start + size)
    if file.read() != _digest(key, array):
        raise ValueError("other numbers than were written, or those of other texts")
    if array.min() < 0 or array.max() > largest:
        raise ValueError("numbers that the tokeniser does not know")
    return array


def _keep(path: Path, key: str, ids: np.ndarray) -> None:
    """Write the array so that `path` holds all of it or what it held before; a cache that cannot be written is warned
    of."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.save(file, ids)
            file.write(_digest(key, ids))
    except OSError as error:
        warnings.warn(
            f"{path.parent}: tokens are not kept for the next run ({error.strerror}). Set REC_TRAK_CACHE to a folder "
            "that can be written.",
            RecTrakWarning,
            stacklevel=3,
        )


def _digest(key: str, array: np.ndarray) -> bytes:
    """Of the numbers as those of a key: the same ones under another key have another."""
    found = hashlib.blake2b(f"{key} {array.dtype.str} {array.shape}".encode(), digest_size=DIGEST)
    found.update(np.ascontiguousarray(array))
    return found.digest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without bars and lines: what transformers and the hub have to say is in the exception."""
    from transformers.utils import logging as bars

    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels, shown = [logger.level for logger in loggers], bars.is_progress_bar_enabled()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    bars.disable_progress_bar()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if shown:
            bars.enable_progress_bar()
