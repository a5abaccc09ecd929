"""Is it the model that it should be? The validation AUC of what was loaded, beside what its checkpoint says of it.

A model that is loaded wrong (other word vectors, other lengths, a history cut from the wrong end) still gives scores,
and nothing in its shapes tells. Its AUC on the set that picked its weights does. Not here: training, or any influence.
"""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score
from torch import nn

from rec_trak.attribution.job import Job, Run
from rec_trak.attribution.session import missing_rows
from rec_trak.checkpoints.code_bases.known import validation_of
from rec_trak.checkpoints.code_bases.tables import Validation
from rec_trak.checkpoints.files import read_checkpoint_file
from rec_trak.checkpoints.source import OURS, ModelSource, read_settings, read_source
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.checkpoints.stated import Stated, stated_auc
from rec_trak.config.analysis import MODEL_TYPES
from rec_trak.config.model import ModelConfig
from rec_trak.data.articles import Articles
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs, build_inputs
from rec_trak.data.places import click_log_path, data_format, validation_name
from rec_trak.data.validation import find_validation
from rec_trak.errors import DataError, RecTrakError, RecTrakWarning, told
from rec_trak.models.build import build_model
from rec_trak.models.language import LanguageModel
from rec_trak.store.manifest import proofs_in, read_manifest
from rec_trak.training.evaluation import impression_scores
from rec_trak.training.metrics import auc

MOST = 2000  # impressions
ARTICLES, LARGE = 20_000, 2000  # different ones to encode, at most, and by a language model
CLOSE = 0.002  # between what the whole set gives and what was said of it: rounding, other hardware, half precision
SAME = 0.00006  # four digits of both
ERRORS = 3  # standard errors more where only a part of the set was taken
BATCH = 32
CAUSES = "other word vectors, other lengths of texts or histories, a history cut from the wrong end, another data set"


@dataclass(frozen=True)
class Proof:
    """What one checkpoint gives and what it says.

    Attributes:
        checkpoint: the file.
        auc: of what was loaded; None where there is nothing to compute it on.
        stated, stated_in: the AUC that the checkpoint tells, and where; None where it tells none.
        definition: what the AUC is, in words.
        log: the click log of the validation set.
        impressions, of_impressions: how many were taken, of how many there that have an AUC.
        apart: whether the two are further apart than the data explain.
        skipped: why there is no AUC.
    """

    checkpoint: str
    auc: float | None = None
    stated: float | None = None
    stated_in: str | None = None
    definition: str = ""
    log: str | None = None
    impressions: int = 0
    of_impressions: int = 0
    apart: bool = False
    skipped: str | None = None

    def line(self) -> str:
        """For the terminal."""
        if self.auc is None:
            return f"validation AUC not computed: {self.skipped}"
        part = f"{self.impressions:,} of " if self.impressions < self.of_impressions else ""
        said = "the checkpoint does not say its own"
        if self.stated is not None:
            said = f"{self.stated_in} says {self.stated:.4f}, "
            apart = abs(self.auc - self.stated)
            said += "the same" if apart < SAME else f"{apart:.4f} apart"
        return (
            f"validation AUC {self.auc:.4f} on {part}{self.of_impressions:,} impressions of {self.log} "
            f"({self.definition}); {said}"
        )


@dataclass(frozen=True)
class _Shown:
    """A part of a validation set as the model reads it.

    Attributes:
        inputs: impressions that have an AUC; a seeded part of them where they are many.
        log: where they are from.
        count: how many such impressions it has.
        blank: the article without any text, where the model's histories are padded.
        how: what the AUC is.
    """

    inputs: Inputs
    log: Path
    count: int
    blank: int
    how: Validation


def prove(run: Run, job: Job) -> dict[str, Proof]:
    """The proof of each member that the save directory has none of, by digest; warns where one is not what it says.

    Nothing is proved where nothing is left to featurize. What stands in the way of a proof is told in it, no error.

    Args:
        run, job: the analysis, read.

    Raises:
        StoreError: the save directory is another run's.
    """
    known = proofs_in(read_manifest(job.save_dir))
    missing = [member for member in job.members if member.digest not in known]
    if not missing or not missing_rows(job):
        return {}
    origin = missing[0].origin
    code_base = origin.code_base if isinstance(origin, ModelSource) else OURS
    how = validation_of(code_base)
    beside = validation_name(run.dataset_type)  # None where the name does not say which part of the data it is
    names = dict.fromkeys((f"val_{run.model_type}", *([beside] if beside else [])))
    form = data_format(run.config.data_path, run.dataset_type, run.config.data_format)
    tree = (run.config.data_path, run.config.news_items_path, tuple(names), form, job.reading)
    shown = _shown(tree, job.model, job.model_config, how, run.config.seed)
    proofs = {}
    for member in missing:
        load_into(job.model, member.state_dict(), member.name)
        proofs[member.digest] = _proof(member.name, job.model, shown, code_base)
    return proofs


def recorded(proofs: dict[str, Proof]) -> dict[str, dict[str, Any]]:
    """As JSON."""
    return {digest: asdict(proof) for digest, proof in proofs.items()}


def prove_file(
    checkpoint: str | Path,
    data_path: str,
    model_config: str | None = None,
    news_items_path: str | None = None,
    form: str = "auto",
) -> Proof:
    """The proof of a checkpoint file on the validation set of a data tree.

    Args:
        checkpoint: any that an analysis can read.
        data_path, news_items_path: as in an analysis.
        model_config: its model.json, or the settings of its code base; None where it tells them itself.
        form: as `data_format` in an analysis.

    Raises:
        ConfigError, CheckpointError: the settings are wrong, or the checkpoint does not fit them.
    """
    kinds = sorted(MODEL_TYPES, key=lambda kind: kind not in Path(checkpoint).name)
    form = _form(data_path, f"train_{kinds[0]}", form)
    tree = (data_path, news_items_path, tuple(f"val_{kind}" for kind in kinds), form)
    settings = read_settings(model_config, checkpoint=checkpoint)
    try:
        found = find_validation(*tree)
    except DataError as error:
        return Proof(str(checkpoint), skipped=str(error))
    if found is None:
        return Proof(str(checkpoint), skipped=_no_set(tree))
    source = read_source(settings, model_config, "auto", checkpoint, found[0])
    model = build_model(source.config)
    load_into(model, source.state_dict(checkpoint), str(checkpoint))
    shown = _part_of(found, model, source.config, validation_of(source.code_base), 0)
    return _proof(str(checkpoint), model, shown, source.code_base)


def _form(data_path: str, dataset_type: str, form: str) -> str:
    """The format of a tree; `auto` finds what yusanshi's preprocessing leaves too, which an analysis names."""
    if form == "auto":
        with contextlib.suppress(DataError):
            click_log_path(data_path, dataset_type, "parsed")
            return "parsed"
    return data_format(data_path, dataset_type, form)


def _no_set(tree: tuple) -> str:
    return f"there is no validation set ({' or '.join(tree[2])}) in {tree[0]}"


def _shown(tree: tuple, model: nn.Module, model_config: ModelConfig, how: Validation, seed: int) -> _Shown | str:
    """Impressions to prove a model on, or why there are none."""
    try:
        found = find_validation(*tree)
        return _no_set(tree) if found is None else _part_of(found, model, model_config, how, seed)
    except (RecTrakError, OSError) as error:
        return str(error)


def _part_of(
    found: tuple[Articles, Impressions, Path], model: nn.Module, model_config: ModelConfig, how: Validation, seed: int
) -> _Shown | str:
    """Few enough impressions of a validation set to be quick, all of which have an AUC; or that none has."""
    articles, impressions, log = found
    sizes, clicks = (np.array([count(row) for row in impressions.labels]) for count in (len, _clicks))
    counted = np.flatnonzero(sizes > 1 if how.one_click else (clicks > 0) & (clicks < sizes))
    if not len(counted):
        return f"no impression of {log} has a click and another candidate"
    large = any(isinstance(part, LanguageModel) for part in model.modules())
    part = _few(impressions, np.random.default_rng(seed).permutation(counted), LARGE if large else ARTICLES)
    inputs = build_inputs(impressions.subset(part), articles, model_config)
    return _Shown(inputs, log, len(counted), len(articles), how)


def _clicks(labels: np.ndarray) -> int:
    return int((labels == 1).sum())


def _few(impressions: Impressions, order: np.ndarray, most: int) -> np.ndarray:
    """The first of `order` that hold at most MOST impressions and `most` articles, at least one, sorted."""
    seen: set[int] = set()
    for count, row in enumerate(order[:MOST]):
        seen |= {*impressions.history[row].tolist(), *impressions.candidates[row].tolist()}
        if len(seen) > most:
            return np.sort(order[: max(count, 1)])
    return np.sort(order[:MOST])


def _proof(checkpoint: str, model: nn.Module, shown: _Shown | str, code_base: str) -> Proof:
    if isinstance(shown, str):
        return Proof(checkpoint, skipped=shown)
    try:
        stated = stated_auc(checkpoint, read_checkpoint_file(checkpoint).extras, code_base == OURS)
        how = shown.how
        blank = shown.blank if how.blank else None
        scores = impression_scores(model, shown.inputs, BATCH, blank)
        labels = [shown.inputs.impressions.labels[i] == 1 for i in range(len(scores))]
        found, error = _auc(scores, labels, how)
    except Exception as error:  # a model of the user's may raise anything; featurizing says what is wrong
        return Proof(checkpoint, skipped=str(error) if isinstance(error, RecTrakError) else told(error))
    room = CLOSE + ERRORS * error * (len(scores) < shown.count)
    comparable = stated is not None and not stated.drawn and not how.own_rows
    apart = comparable and abs(found - stated.auc) > room
    proof = Proof(
        checkpoint=checkpoint,
        auc=found,
        stated=stated and stated.auc,
        stated_in=stated and stated.where + _elsewhere(stated, how),
        definition=_words(how),
        log=str(shown.log),
        impressions=len(scores),
        of_impressions=shown.count,
        apart=apart,
    )
    if apart:
        _warn(proof)
    return proof


def _auc(scores: list[np.ndarray], labels: list[np.ndarray], how: Validation) -> tuple[float, float]:
    """The AUC as a code base has it, and the standard error of a mean over so many impressions.

    Args:
        scores, labels: one array (C_i,) an impression; labels are True where clicked.
    """
    if how.one_click:
        labels = [np.arange(len(row)) == (0 if row.any() else 1) for row in labels]
    each = np.array([auc(s, y) for s, y in zip(scores, labels, strict=True)])
    error = float(each.std() / np.sqrt(len(each)))
    if not how.pooled:
        return float(each.mean()), error
    if how.pooled == "softmax":
        scores = [np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in scores]
    return float(roc_auc_score(np.concatenate(labels), np.concatenate(scores))), error


def _words(how: Validation) -> str:
    if not how.pooled:
        return "mean over impressions"
    return "over all candidates together" + (", by their softmax" if how.pooled == "softmax" else "")


def _elsewhere(stated: Stated, how: Validation) -> str:
    """What else the said AUC is of."""
    if how.own_rows:
        return f" (of {how.own_rows})"
    return " (of drawn candidates)" if stated.drawn else ""


def _warn(proof: Proof) -> None:
    warnings.warn(
        f"{proof.checkpoint}: what was loaded is not what the checkpoint says. Got a validation AUC of {proof.auc:.4f} "
        f"on {proof.log}, expected {proof.stated:.4f} ({proof.stated_in}). The usual causes: {CAUSES}. Compare "
        "`model_config` and `data_path` with what it was trained with.",
        RecTrakWarning,
        stacklevel=2,
    )
