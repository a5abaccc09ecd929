"""Settings of attribution, good and bad: what trust.py measures of each, and the LDS that it really has.

A smaller K is the stored sketch folded, a dtype the stored numbers rounded to it. What is measured stays in
`<folder>/<world>/trust.csv`, a line a setting, so that a run that was stopped goes on. Not here: thresholds, verdicts.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from worlds import Features, World, features, margins

from rec_trak.errors import RecTrakWarning
from rec_trak.scoring.solve import gram, relative_ridge
from rec_trak.trust.measures import Measures, measure
from rec_trak.trust.prediction import foretold, kept
from rec_trak.trust.verdict import judge
from rec_trak.validation.lds import spearman
from rec_trak.validation.ridge import fold

HALF = {2048: (1e-3, 0.1, 1.0, 10.0, 100.0), 512: (1e-4, 0.01, 0.1, 1.0, 10.0, 100.0), 64: (1e-4, 0.1, 1.0, 10.0)}
FULL = {2048: (1e-3, 1.0, 100.0), 256: (1e-4, 0.1, 1.0, 10.0)}
BAD = {(2048, 1e-4): (1, 10), (2048, 1e4): (1, 10), (64, 100.0): (1, 3), (16, 1.0): (1, 3), (16, 100.0): (1, 3)}
ROUNDED = {"float16": torch.float16, "bfloat16": torch.bfloat16}
NAMES = ("kind", "K", "ridge", "E", "dtype")


class Setting(NamedTuple):
    """Members of a kind (worlds.MEMBERS), the first E of them; K; `lambda_rel`; what the sketches are rounded to."""

    kind: str
    proj_dim: int
    lambda_rel: float
    members: int
    dtype: str = "float32"


@dataclass(frozen=True)
class Measured:
    """A setting, what trust.py measures of its rankings of single targets, and their LDS."""

    setting: Setting
    measures: Measures
    lds: float


def settings() -> list[Setting]:
    """All that are tried, those that share their kernels next to each other."""
    found = [Setting("half", k, ridge, e) for k, ridges in HALF.items() for ridge in ridges for e in (1, 3, 10)]
    found += [Setting("full", k, ridge, e) for k, ridges in FULL.items() for ridge in ridges for e in (1, 5)]
    found += [Setting("half", k, ridge, e) for (k, ridge), members in BAD.items() for e in members]
    return found + [Setting("half", 512, ridge, 5, dtype) for dtype in ROUNDED for ridge in (1e-3, 1.0)]


def measured(world: World) -> list[Measured]:
    """Every setting of a world, measured where it is not on disk; `quality` compares them."""
    path = world.folder / "trust.csv"
    lines = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {_key(line) for line in lines}
    missing = [one for one in settings() if _key(_named(one)) not in done]
    if missing:
        outcomes = margins(world, 1).mean(axis=1)  # (S, M), over trainings
        held = {kind: features(world, kind) for kind in {one.kind for one in missing}}
        for one, kernels, phis, targets in _kernels(missing, held):
            start, qs = time.perf_counter(), held[one.kind].qs[: one.members]
            predicted = world.groups @ (np.mean(kernels, axis=0) * np.mean(qs, axis=0)[:, None])
            lds = float(np.nanmean(spearman(predicted, outcomes)))
            told = dataclasses.asdict(measure(phis, qs, targets, one.lambda_rel))
            lines.append(_named(one) | {"lds": lds} | told)
            pd.DataFrame(lines).to_csv(path, index=False)
            print(world.name, *one, f"LDS {lds:.3f}, {time.perf_counter() - start:.1f} s", flush=True)
    order = {_key(_named(one)): one for one in settings()}
    return [_read(order[_key(line)], line) for line in lines if _key(line) in order]


def words(world: World) -> dict[str, str]:
    """The verdict on every setting, and what it rests on, without retraining: what two builds may be compared by."""
    held, told = {kind: features(world, kind) for kind in {one.kind for one in settings()}}, {}
    for one in settings():
        stored = held[one.kind]
        phis, targets = ([_sketch(part[m], one) for m in range(one.members)] for part in (stored.phis, stored.targets))
        found = predicted_anew(measure(phis, stored.qs[: one.members], targets, one.lambda_rel))
        told[" ".join(str(part) for part in (world.name, *one))] = f"{judge(found).word}, {found.predicted:.3f}"
    return told


def quality(found: list[Measured]) -> np.ndarray:
    """(S,) LDS over the best LDS seen."""
    lds = np.array([one.lds for one in found])
    return lds / lds.max()


def predicted_anew(m: Measures) -> Measures:
    """The same with the shares and the prediction that rec_trak/trust/prediction.py makes today."""
    reliability = min((r for r in (m.projection_sums, m.checkpoint_sums) if r is not None), default=None)
    explained = {"own": m.explained, "larger": m.explained_larger, "smaller": m.explained_smaller}
    parts = kept(reliability, m.mean_leverage, m.dot_product, None if m.explained is None else explained)
    values = dict(zip(("kept_noise", "kept_following", "kept_curvature"), parts.values(), strict=False))
    return dataclasses.replace(m, **values, predicted=foretold(parts))


def _kernels(wanted: list[Setting], held: dict[str, Features]) -> Iterator[tuple]:
    """Each setting with its kernels (E, N, M) and sketches."""
    last, most = None, {}
    for one in wanted:
        shared = one._replace(members=0)
        most[shared] = max(most.get(shared, 0), one.members)
    for one in wanted:
        shared = one._replace(members=0)
        if shared != last:
            last, members = shared, range(most[shared])
            sketches = [
                [_sketch(part[m], one) for m in members] for part in (held[one.kind].phis, held[one.kind].targets)
            ]
            kernels = [_kernel(phi, targets, one.lambda_rel) for phi, targets in zip(*sketches, strict=True)]
        yield (one, kernels[: one.members], *(part[: one.members] for part in sketches))


def _sketch(stored: np.ndarray, one: Setting) -> np.ndarray:
    """(n, K) float32."""
    folded = fold(np.asarray(stored, dtype=np.float32), stored.shape[1] // one.proj_dim)
    rounded = torch.from_numpy(folded).to(ROUNDED.get(one.dtype, torch.float32))
    return rounded.float().numpy()


def _kernel(phi: np.ndarray, targets: np.ndarray, lambda_rel: float) -> np.ndarray:
    """(N, M)."""
    system = gram(phi, lambda_rel=lambda_rel)
    with warnings.catch_warnings():  # that some ridges are too small is the point
        warnings.simplefilter("ignore", RecTrakWarning)
        system.diagonal().add_(relative_ridge(system, len(phi), lambda_rel))
    solved = torch.cholesky_solve(torch.from_numpy(targets.T.astype(np.float64)), torch.linalg.cholesky(system))
    return phi @ solved.numpy()


def _named(one: Setting) -> dict:
    return dict(zip(NAMES, one, strict=True))


def _key(line: dict) -> tuple:
    return (line["kind"], int(line["K"]), f"{line['ridge']:g}", int(line["E"]), line["dtype"])


def _read(one: Setting, line: dict) -> Measured:
    fields = {field.name: line[field.name] for field in dataclasses.fields(Measures)}
    fields = {name: None if pd.isna(value) else value for name, value in fields.items()}
    return Measured(one, predicted_anew(Measures(**fields)), line["lds"])
