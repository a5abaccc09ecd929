"""What a checkpoint is, told without running anything from it. Not here: reading the file, or building its model.

A description is plain data that JSON can hold, and short, whatever the file holds.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from rec_trak.checkpoints.carried import attributes, path_text
from rec_trak.checkpoints.code_bases.known import CODE_BASES, recognise_checkpoint, without_wrappers
from rec_trak.checkpoints.files import printable, read_checkpoint_file
from rec_trak.checkpoints.names import refuse_adapter
from rec_trak.checkpoints.ours import recognise_ours
from rec_trak.checkpoints.rebuild import Inert
from rec_trak.checkpoints.source import OURS
from rec_trak.config.model import HABITS_OF, read_model_config
from rec_trak.errors import CheckpointError, ConfigError, listed
from rec_trak.models.build import read_sizes

SETTINGS_KEYS = ("hyper_parameters", "datamodule_hyper_parameters", "hparams", "config", "cfg", "args", "settings")
WORD_WIDTHS = (  # of our names, those whose second dimension is the width of a word vector
    re.compile(r"word_embedding\.weight"),
    re.compile(r"word_embedding\.lm\..*word_embeddings\.weight"),
    re.compile(r"title_self_attention\.w_q\.weight"),
    re.compile(r"(text_encoders\.\w+|title_encoder)\.convs?(\.0)?\.weight"),
)
SLICE = re.compile(r"(.+)\[(\d+):(\d+)\]")
CARRYING = {module.NAME: getattr(module, "LEFT_OUT", "") for module in CODE_BASES if hasattr(module, "carried")}
MOST_BITS = 256  # of a number that is told
MOST, DEEPEST = 2000, 20  # settings, and entries within them, that are told


@dataclass(frozen=True)
class _Model:
    """What the names of the parameters, and a model.json beside them, tell.

    Attributes:
        own: the file's tensors that are the model's, without prefixes of wrappers; empty where no model is known.
        state: the tensors under our names, as far as they could be translated.
        rest: names that are no parameter of the model.
        unreached: names, or slices of one, that never reach a score; None where that is not known.
        settings: what model.json says beside vocabularies.
        settings_file: that file.
        problem: why the code base that they seem to be of could not read them.
    """

    code_base: str | None = None
    architecture: str | None = None
    own: Mapping[str, Tensor] = field(default_factory=dict)
    state: Mapping[str, Tensor] = field(default_factory=dict)
    rest: tuple[str, ...] = ()
    unreached: tuple[str, ...] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    settings_file: Path | None = None
    problem: str | None = None


def describe_checkpoint(path: str | Path) -> dict[str, Any]:
    """What the file is, as plain data; None stands for what cannot be told.

    Returns:
        `path`, `format`, `bytes`, `code_base`, `architecture`; `parameters`: `in_file` and `in_scores` (counts),
        `by_module` and `never_in_scores` (name -> count); `numbers` (their formats); `beside_the_model` (names that are
        not the model's); `sizes`: `embeddings` (name -> rows and width), `word_dim`, `heads` (setting -> number);
        `trained_with` (setting -> value); `progress` (epoch and the like);
        `replaced_classes` (named in the file, never looked up); `problem` (why its code base cannot read it); `yaml`
        (key -> value of an analysis' YAML, None for the user to fill in).

    Raises:
        CheckpointError: the file cannot be read.
    """
    path = Path(path)
    read = read_checkpoint_file(path)
    model = _ours(path, read.state) or _theirs(path, read.state)
    own = model.own or read.state
    settings = _plain(model.settings or _settings(read.extras), [MOST])
    return {
        "path": str(path),
        "format": read.format,
        "bytes": sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]) if file.is_file()),
        "code_base": model.code_base,
        "architecture": model.architecture,
        "parameters": _parameters(own, model.unreached),
        "numbers": sorted({str(t.dtype).removeprefix("torch.") for t in own.values() if t.is_floating_point()}),
        "beside_the_model": [printable(name) for name in model.rest[:MOST]],
        "sizes": {
            "embeddings": _embeddings(own),
            "word_dim": _word_dim(model.state),
            "heads": {name: n for name, n in settings.items() if "head" in name and type(n) is int and n > 0},
        },
        "trained_with": settings,
        "progress": _plain({k: v for k, v in read.extras.items() if isinstance(v, int | float | str)}, [MOST]),
        "replaced_classes": [printable(name) for name in read.pickled_classes],
        "problem": None if model.problem is None else printable(model.problem, 1000),
        "yaml": {
            "model_checkpoint": str(path),
            "code_base": model.code_base,
            "model_config": None if model.settings_file is None else str(model.settings_file),
        },
    }


def description_lines(description: Mapping[str, Any]) -> list[str]:
    """The lines that tell a person what `describe_checkpoint` found."""
    parameters, sizes = description["parameters"], description["sizes"]
    lines = [
        f"{description['path']}",
        f"  format        {description['format']}, {description['bytes']:,} bytes",
        f"  code base     {description['code_base'] or 'unknown'}",
        f"  architecture  {description['architecture'] or 'unknown'}",
        f"  parameters    {parameters['in_file']:,} {' and '.join(description['numbers'])}".rstrip(),
    ]
    lines += [f"    {count:>12,}  {name}" for name, count in parameters["by_module"].items()]
    if parameters["in_scores"] is not None:
        lines.append(f"  reach scores  {parameters['in_scores']:,}")
    for name, count in (parameters["never_in_scores"] or {}).items():
        lines.append(f"    {'?' if count is None else format(count, ','):>12}  never: {name}")
    if description["beside_the_model"]:
        lines.append(f"  left out      {listed('name(s) that are not the model', description['beside_the_model'])}")
    lines += [f"  embedding     {rows:,} x {width}  {name}" for name, (rows, width) in sizes["embeddings"].items()]
    if sizes["word_dim"] is not None:
        lines.append(f"  word vectors  {sizes['word_dim']} wide")
    if sizes["heads"] and description["architecture"] == "nrms":
        lines.append(f"  heads         {', '.join(f'{name} {count}' for name, count in sizes['heads'].items())}")
    for title, key in (("trained with", "trained_with"), ("progress", "progress")):
        if description[key]:
            lines.append(f"  {title}")
            lines += [f"    {name}: {json.dumps(value)}" for name, value in description[key].items()]
    if description["replaced_classes"]:
        lines.append(f"  named in the file, not run: {', '.join(description['replaced_classes'])}")
    if description["problem"]:
        lines.append(f"  problem: {description['problem']}")
    return [*lines, "", *_yaml_lines(description)]


def _yaml_lines(description: Mapping[str, Any]) -> list[str]:
    """What to write into the YAML of an analysis."""
    given, code_base = description["yaml"], description["code_base"]
    lines = ["For the YAML of an analysis (docs/checkpoints.md):", ""]
    lines.append(f"model_checkpoint: {json.dumps(given['model_checkpoint'], ensure_ascii=False)}")
    if code_base is None:
        lines.append('model: {class: "package.module:Name", args: {}}  # the class that it was trained with')
        return [*lines, "model_config:  # a model.json that says how text becomes numbers"]
    lines.append(f"code_base: {code_base}")
    told = given["model_config"] is None and code_base in CARRYING and description["trained_with"]
    if told and CARRYING[code_base]:
        return [*lines, f"model_config:  # what the file does not say: {CARRYING[code_base]}"]
    if told:
        return [*lines, "# model_config: may stay away, since the file says what it was trained with"]
    if given["model_config"] is None:
        return [*lines, f"model_config:  # the settings that {code_base} trained it with"]
    return [*lines, f"model_config: {json.dumps(given['model_config'], ensure_ascii=False)}"]


def _ours(path: Path, state: Mapping[str, Tensor]) -> _Model | None:
    """The model, if the names are ours; sizes come from the model.json beside the file, if there is one."""
    architecture, own, rest = recognise_ours(state)
    if architecture is None:
        return None
    told = _Model(OURS, architecture, own, own, rest, ())
    place = path.with_name("model.json")
    if not place.is_file():
        return told
    try:
        config = read_model_config(place)
        sizes, config = read_sizes(config)
    except ConfigError as error:
        return replace(told, settings_file=place, problem=str(error))
    if config.architecture != architecture:
        problem = f"{place}: another architecture. Got {config.architecture}, expected {architecture}."
        return replace(told, problem=problem)
    known = HABITS_OF[config.architecture]
    habits = {key: value for key, value in dataclasses.asdict(config.habits).items() if key in known}
    settings = (
        dataclasses.asdict(sizes)
        | habits
        | {
            key: value
            for key, value in dataclasses.asdict(config).items()
            if key in ("views", "max_history", "history_truncation", "loss")
        }
    )
    return replace(told, settings=settings, settings_file=place)


def _theirs(path: Path, state: Mapping[str, Tensor]) -> _Model:
    """The model, by the code base that has such names."""
    try:
        own, rest = without_wrappers(state, str(path))
        found = recognise_checkpoint(own)
        if found is None:
            refuse_adapter(state, str(path))
    except CheckpointError as error:
        return _Model(problem=str(error))
    if found is None:
        return _Model()
    module, architecture = found
    told = _Model(module.NAME, architecture, own, rest=rest)
    try:
        translated = module.translate(architecture, own, str(path))
    except CheckpointError as error:
        return replace(told, problem=str(error))
    return replace(told, state=translated.state, unreached=translated.unreached)


def _parameters(state: Mapping[str, Tensor], unreached: tuple[str, ...] | None) -> dict[str, Any]:
    """How many parameters there are, by module, and how many of them reach a score."""
    counts, seen = {}, set()
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride())
        # Integers are counters, and a tied tensor counts under its first name.
        counts[name] = 0 if place in seen or not tensor.is_floating_point() else tensor.numel()
        seen.add(place)
    never = None if unreached is None else {printable(name): _count_of(name, counts, state) for name in unreached}
    in_file, known = sum(counts.values()), never is not None and None not in never.values()
    return {
        "in_file": in_file,
        "in_scores": in_file - sum(never.values()) if known else None,
        "by_module": _by_module(counts),
        "never_in_scores": never,
    }


def _embeddings(state: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """Name -> rows and width of each table of vectors; one of several names for the same."""
    tables = {t.data_ptr(): (n, t) for n, t in reversed(state.items()) if "embedding" in n and t.dim() == 2}
    return {printable(name): list(tensor.shape) for name, tensor in reversed(tables.values())}


def _count_of(name: str, counts: Mapping[str, int], state: Mapping[str, Tensor]) -> int | None:
    """How many parameters a name has, or a slice of its rows; code bases leave the prefix `model.` out."""
    sliced = SLICE.fullmatch(name)
    whole, first, last = (sliced[1], int(sliced[2]), int(sliced[3])) if sliced else (name, 0, 1)
    there = next((known for known in (whole, f"model.{whole}") if known in state), None)
    if there is None:
        return None
    rows = max(len(state[there]), 1) if sliced else 1
    return counts[there] * (last - first) // rows


def _by_module(counts: Mapping[str, int]) -> dict[str, int]:
    """The first part of the names, without a prefix `model.` that all share -> how many parameters."""
    prefix = "model." if all(name.startswith("model.") for name in counts) else ""
    modules: dict[str, int] = {}
    for name, count in counts.items():
        module = re.split(r"[./]", name.removeprefix(prefix), maxsplit=1)[0]
        modules[printable(module)] = modules.get(printable(module), 0) + count
    return modules


def _word_dim(state: Mapping[str, Tensor]) -> int | None:
    """The width of a word vector, from tensors under our names."""
    fitting = (t for pattern in WORD_WIDTHS for n, t in state.items() if pattern.fullmatch(n) and t.dim() > 1)
    return next((tensor.shape[1] for tensor in fitting), None)


def _settings(extras: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says that it was trained with; where that is one object, its attributes."""
    settings: dict[str, Any] = {}
    for key in SETTINGS_KEYS:
        found = attributes(extras.get(key))
        inner = attributes(next(iter(found.values()))) if len(found) == 1 else {}
        settings |= inner or found
    return settings


def _plain(value: Any, left: list[int], depth: int = 0) -> Any:
    """`value` for JSON, stand-ins as text or by their attributes; `left[0]` is how many more entries to tell."""
    left[0] -= 1
    if value is None or isinstance(value, int):
        return value if value is None or value.bit_length() < MOST_BITS else f"a number of {value.bit_length():,} bits"
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, np.ndarray):
        return f"array {value.shape} {value.dtype}"
    if path_text(value) is not None:
        return printable(path_text(value))
    if isinstance(value, Inert) and not attributes(value):
        return printable(value.inert_class)
    if left[0] < 0 or depth > DEEPEST:
        return "..."
    if isinstance(value, dict | Inert):
        entries = list(attributes(value).items())[: left[0]]
        return {printable(key): _plain(inner, left, depth + 1) for key, inner in entries}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner, left, depth + 1) for inner in list(value)[: left[0]]]
    return type(value).__name__
