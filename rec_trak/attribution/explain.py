"""Why a row has its influence on a target: its kernel part, Q and leverage, and which of its articles it comes from.

A row's gradient is a sum: the article encoder's parameters get one term from each article that the row shows it, in the
history or among the candidates. The kernel part is linear in the gradient, so it is the same sum. The parameters of the
user encoder get one gradient from all articles together, which belongs to none of them: a part of its own. Of a
model that is one function, see `apart`. Not here:
files, or what would change without an article.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from trak.projectors import AbstractProjector

from rec_trak.attribution.apart import factors_by_article
from rec_trak.attribution.job import Job
from rec_trak.attribution.session import featurize_targets
from rec_trak.attribution.settled import settled
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.clicks import ClickOutput
from rec_trak.data.articles import Articles
from rec_trak.data.batches import Pairs
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import build_inputs
from rec_trak.data.tables import one_line
from rec_trak.errors import ConfigError, told
from rec_trak.gradients.computers import computer_class, make_batch, row_batch, row_margin
from rec_trak.gradients.factors import Factors
from rec_trak.models.passes import values_only
from rec_trak.scoring.solve import gram, leverage, shortest, solve
from rec_trak.sketch.projection import SketchProjector
from rec_trak.sketch.projectors import make_projector
from rec_trak.store.manifest import digest, read_whole, write_json
from rec_trak.store.reading import read_member, read_targets
from rec_trak.words import signed

CLOSE = 1e-3  # of the row's feature: how far the parts may be from the stored whole
WHOLE, USER_ENCODER, PADDING = "the whole row", "user encoder", "history, padding"
TOGETHER = "several articles together"
PART_COLUMNS = ("part", "article_id", "title", "kernel", "influence")


@dataclass(frozen=True)
class Explanation:
    """One impression's influence on one target.

    Attributes:
        row, target: their numbers.
        influence: Q k, in margin units, summed over the impression's rows where the loss makes several.
        kernel, q, leverage: k, Q and h, summed likewise; means over members.
        parts: PART_COLUMNS; `kernel` adds up to k, `influence` to Q k. History first, oldest first, then candidates.
        unsplit: why there is one part alone, or None.
    """

    row: int
    target: int
    influence: float
    kernel: float
    q: float
    leverage: float
    parts: pd.DataFrame
    unsplit: str | None

    def lines(self) -> list[str]:
        """The numbers and the parts in words, for the terminal."""
        effect = "a proponent" if self.influence > 0 else "an opponent" if self.influence < 0 else "no influence"
        lines = [
            f"influence {signed(self.influence, '.4g')} in margin units ({effect}): "
            f"kernel {signed(self.kernel, '.4g')}, Q {self.q:.4g}, leverage {self.leverage:.4g}"
        ]
        if self.unsplit:
            lines.append(f"not taken apart: {self.unsplit}")
        width = max(map(len, self.parts["part"]))
        for part in self.parts.itertuples():
            lines.append(f"  {signed(part.influence, '.3e')}  {part.part:<{width}}  {part.title}".rstrip())
        return lines


def explain(
    job: Job, name: str, targets: Impressions, row: int, target: int, articles: Articles | None = None
) -> Explanation:
    """The influence of impression `row` on target number `target` of a set, taken apart.

    Each member's parts are checked against its stored feature of the row; where they do not add up to it, or the model
    cannot be taken apart, there is one part, and `unsplit` says why.

    Args:
        job: the job that was featurized.
        name, targets, articles: the set, as for `influence.target_influence`.
        row: the impression's number (`sample_idx`), from 0.
        target: from 0.

    Raises:
        ConfigError: no such row or target.
        StoreError: rows are missing, the directory is another run's, or another target set has this name.
    """
    for what, number, count in (("row", row, len(job.impressions)), ("target", target, len(targets))):
        if not 0 <= number < count:
            raise ConfigError(
                f"--explain: no such {what}. Got {number}, expected 0 to {count - 1}. Take a number from the rankings."
            )
    featurize_targets(job, name, targets, articles=articles)
    job = settled(job)
    rows = np.flatnonzero(job.impression_of_row == row)
    projector = make_projector(job.projector, job.parameter_count, job.proj_dim, job.seed, job.device)
    found = [_member(job, model_id, name, rows, target, projector) for model_id in range(len(job.members))]
    kernel, q, h = (
        np.mean([getattr(member, part) for member in found], axis=0) for part in ("kernel", "q", "leverage")
    )
    unsplit = next((member.unsplit for member in found if member.unsplit), None)
    if unsplit is None:
        parts = [np.mean([member.parts[i] for member in found], axis=0) for i in range(len(rows))]
        table = _table(job, row, rows, parts, q, found[0].rest)
    else:
        table = pd.DataFrame([(WHOLE, "", "", kernel.sum(), q @ kernel)], columns=PART_COLUMNS)
    return Explanation(
        row, target, float(q @ kernel), float(kernel.sum()), float(q.sum()), float(h.sum()), table, unsplit
    )


@dataclass(frozen=True)
class _Member:
    """One member's say on the R rows of an impression: (R,) each, and kernel parts (1 + n,) for each row."""

    kernel: np.ndarray
    q: np.ndarray
    leverage: np.ndarray
    parts: list[np.ndarray]
    unsplit: str | None
    rest: str = USER_ENCODER


def _member(job: Job, model_id: int, name: str, rows: np.ndarray, target: int, projector: AbstractProjector) -> _Member:
    phi, q = read_member(job.save_dir, model_id)
    system = solve(gram(phi, lambda_rel=job.lambda_rel), len(phi), job.lambda_rel)
    gradients = read_targets(job.save_dir, model_id, name)
    explained = torch.from_numpy(np.array(gradients[target], dtype=np.float64))
    solved = torch.cholesky_solve(explained[:, None], system.factor)[:, 0]
    own = torch.from_numpy(np.array(phi[rows], dtype=np.float64))
    load_into(job.model, job.members[model_id].state_dict(), job.members[model_id].name)
    parts, unsplit, rest = [], None, USER_ENCODER
    least = shortest(system, len(phi), job.precision)
    nothing = ["row"] * (not (own.norm(dim=1) > least).any()) + ["target"] * (not explained.norm() > least)
    if nothing:
        unsplit = (
            f"the {nothing[0]} carries nothing, its gradient is rounding: its candidates look alike to the model, or "
            "nothing of them reaches it"
        )
        return _Member(np.zeros(len(rows)), q[rows], leverage(own, system), parts, unsplit)
    for row, whole in zip(rows, own, strict=True):
        sketches, unsplit, rest = _split(job, int(row), model_id, projector, whole)
        if unsplit:
            break
        parts.append((sketches @ solved).numpy())
    return _Member((own @ solved).numpy(), q[rows], leverage(own, system), parts, unsplit, rest)


def margins(job: Job, name: str, targets: Impressions, articles: Articles | None = None) -> np.ndarray:
    """(M,) mean over members of each target's margin: how far the model puts the article to explain above the others.

    They are kept in the save directory beside the gradients of the set, which must be there.
    """
    inputs, output = build_inputs(targets, articles or job.articles, job.model_config), ClickOutput("softmax")
    found = []
    for model_id, member in enumerate(job.members):
        path = job.save_dir / str(model_id) / f"{name}_margins.json"
        held = _kept_margins(path)
        if len(held) != len(inputs):
            load_into(job.model, member.state_dict(), member.name)
            with values_only():
                rows = (row_batch(inputs, i, job.device) for i in range(len(inputs)))
                held = [float(row_margin(job.model, output, row)) for row in rows]
            write_json(path, {"margins": held, "digest": digest(held)})
        found.append(held)
    return np.mean(np.array(found, dtype=np.float64), axis=0)


def _kept_margins(path: Path) -> list[float]:
    """The margins in a file of `margins`; none where it is not whole: they are quickly made again."""
    told = read_whole(path) or {}
    held = told.get("margins")
    return held if isinstance(held, list) and told.get("digest") == digest(held) else []


def _split(
    job: Job, row: int, model_id: int, projector: AbstractProjector, whole: Tensor
) -> tuple[Tensor, str | None, str]:
    """Sketches (1 + n, K) of the row's gradient: the rest's, then each article's; or why none; what the rest is."""
    nothing = torch.zeros(0)
    pairs = make_batch("factored", job.model, job.inputs, np.array([row]), job.device)
    rest, lost = USER_ENCODER, {}
    try:
        if pairs.groups:
            factors = _by_pair(job, pairs)
        else:
            factors, lost = factors_by_article(job, row)
            rest = TOGETHER + (f", and all of {', '.join(sorted(lost))}" if lost else "")
        if isinstance(projector, SketchProjector):
            sketches = projector.project(factors, model_id)
        else:
            dense = (factors.dense([i]) for i in range(len(factors)))
            sketches = torch.cat([projector.project(part, model_id) for part in dense])
        if lost:
            sizes = {name: job.model.get_parameter(name) for name in job.grad_wrt}
            whole_of = {name: lost.get(name, torch.zeros_like(p))[None].detach() for name, p in sizes.items()}
            sketches[:1] += projector.project(whole_of, model_id)
    except Exception as error:  # whatever a model does that this path cannot take
        return nothing, told(error), rest
    sketches = sketches.cpu().double() / job.parameter_count**0.5
    if not pairs.groups and not sketches[1:].any():
        return nothing, "no parameter is used on one article alone", rest
    distance = float((sketches.sum(dim=0) - whole).norm() / whole.norm().clamp_min(1e-30))
    if not distance <= CLOSE:
        return nothing, f"the parts differ from the stored feature by {distance:.1e} of its norm", rest
    return sketches, None, rest


def _by_pair(job: Job, pairs: Pairs) -> Factors:
    """The gradient as that of 1 + n rows: what comes after the article encoder is number 0, each pair is its own."""
    owners = (1 + pairs.order.argsort()).split([len(owner) for owner in pairs.owners])
    computer = computer_class("factored", job.precision)(
        job.model, ClickOutput(job.loss), 0, torch.float32, job.device, grad_wrt=job.grad_wrt
    )
    factors = computer.compute_per_sample_grad(pairs._replace(owners=owners))
    return dataclasses.replace(factors, batch=1 + len(pairs.order))


def _table(job: Job, row: int, rows: np.ndarray, parts: list[np.ndarray], q: np.ndarray, rest: str) -> pd.DataFrame:
    """The parts of an impression's rows added up by place in the history and by candidate."""
    read, shown = job.inputs.impressions, job.impressions
    sums: dict[tuple[str, int, int], np.ndarray] = {}
    for part, r, weight in zip(parts, rows, q, strict=True):
        history, candidates = read.history[r].tolist(), read.candidates[r].tolist()
        keys = [("", -1, -1)]
        keys += [("history", place if a < len(job.articles) else -1, a) for place, a in enumerate(history, 1)]
        keys += [("candidate", -1, a) for a in candidates]
        for key, value in zip(keys, part, strict=True):
            sums[key] = sums.get(key, 0) + np.array([value, weight * value])
    clicked = dict(zip(shown.candidates[row].tolist()[::-1], shown.labels[row].tolist()[::-1], strict=True))
    lines = []
    for (kind, place, article), numbers in [*list(sums.items())[1:], next(iter(sums.items()))]:
        if kind == "candidate":
            label = "clicked candidate" if clicked[article] == 1 else "other candidate"
        else:
            label = rest if not kind else f"history {place}" if place > 0 else PADDING
        real = 0 <= article < len(job.articles)
        names = (job.articles.ids[article], one_line(job.articles.titles[article])) if real else ("", "")
        lines.append((label, *names, *numbers.tolist()))
    return pd.DataFrame(lines, columns=PART_COLUMNS)
