"""Rankings of a setting of poison_store.py, those of the library and those that were tried. Not here: figures.

The influence on a target set of few targets is the mean over the first so many of each article.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from poison_store import Setting
from scipy.linalg import cho_factor, cho_solve

from rec_trak.detection.baselines import data_baselines, holds
from rec_trak.detection.stages import in_question_first, standard_ranks, summed
from rec_trak.detection.suspicion import (
    CLICKS,
    FIRST,
    HISTORIES,
    INFLUENCE,
    LOSS,
    READ,
    SHOWN,
    Suspicion,
    suspicion_of,
)
from rec_trak.runs.stored import gradient_cosine, loss_and_norms

CURVE = ("A", "B", "M")
COUNTS = (5, 10, 20, 50, 100, 200, 500)
ORACLE = "oracle: knows which clicks are genuine"


@dataclasses.dataclass(frozen=True)
class Solved:
    """Means over members: leverage and Q (N,), kernel with the mean of the first COUNTS targets of each article, in the
    last column of all of them (N, C + 1), and kernel with each row in question (N, R)."""

    h: np.ndarray
    q: np.ndarray
    targets: np.ndarray
    asked: np.ndarray


def solved(setting: Setting) -> Solved:
    """The members' systems, solved; kept beside the sketches.

    With fewer rows than K it is cheaper among the rows: with G = Phi Phi', Phi (Phi'Phi + ridge I)^-1 is
    (G + ridge I)^-1 Phi, and the leverages are the diagonal of G (G + ridge I)^-1.
    """
    path = setting.stored.save_dir.with_name(f"solved_{setting.attack.kind}.npz")
    if not path.exists():
        rows, explained = np.flatnonzero(setting.attack.asked), setting.attack.targets.clicked
        places = np.concatenate([np.arange(np.sum(explained == a)) for a in dict.fromkeys(explained.tolist())])
        parts = []
        for member in range(setting.stored.members):
            phi, q = setting.stored.read(member)
            phi, targets = np.array(phi), np.array(setting.stored.targets(member, "targets"))
            means = np.stack([targets[places < count].mean(axis=0) for count in (*COUNTS, len(targets))], axis=1)
            gram = (phi @ phi.T).astype(np.float64)
            ridge = setting.stored.lambda_rel * np.trace(gram) / min(phi.shape)
            factor = cho_factor(gram + ridge * np.eye(len(gram)), lower=True)
            columns = cho_solve(factor, np.concatenate([phi @ means, gram], axis=1))
            kernel = columns[:, means.shape[1] :]
            parts.append((np.diag(kernel), q, columns[:, : means.shape[1]], kernel[:, rows]))
        mean = [np.mean(x, axis=0) for x in zip(*parts, strict=True)]
        np.savez(path, **dict(zip(("h", "q", "targets", "asked"), mean, strict=True)))
    return Solved(**np.load(path))


def rankings(setting: Setting, told: Solved) -> dict[str, np.ndarray]:
    """Every ranking, name -> (N,); higher is more suspicious. Slander (S) asks for opponents."""
    attack = setting.attack
    rows = attack.rows
    sign = -1.0 if attack.kind == "S" else 1.0
    k = sign * told.targets[:, -1]
    renormalised = k / np.sqrt(told.h)
    influence = renormalised * np.sqrt(told.q)
    found = {
        "influence, renormalised": renormalised,
        "influence, renormalised, times root Q": influence,
        "influence": k * told.q,
        "self-influence Q h": told.h * told.q,
    }
    if attack.kind == "H":
        found |= {"place in history, leverage": setting.places[0], "place in history, influence": setting.places[1]}
    found |= loss_and_norms(setting.stored)
    found["gradient cosine with the targets"] = sign * gradient_cosine(setting.stored, "targets")
    found |= _staged(setting, influence, found["loss"])
    found |= {f"tried: {name}": x for name, x in _tried(setting, told, influence).items()}
    plain = dataclasses.replace(rows, columns={})
    found |= {
        f"no model: {name}": x for name, x in data_baselines(plain, setting.ground.articles, attack.promoted)[0].items()
    }
    found["no model: short history"] = -rows.history.lengths.astype(float)
    found[ORACLE] = in_question_first(attack.asked, oracle(setting))
    return found


def _staged(setting: Setting, influence: np.ndarray, loss: np.ndarray) -> dict[str, np.ndarray]:
    """Two-stage rankings, by clicks and where histories are asked about by places."""
    attack = setting.attack
    rows, count = attack.rows, len(setting.ground.articles)
    if attack.kind == "S":
        return _shown(setting, influence, loss)
    through = HISTORIES if attack.kind == "H" else CLICKS
    whole = suspicion_of(rows, count, attack.promoted, through, {INFLUENCE: influence})
    found = _parts(whole)
    found[f"{FIRST[through]}, then influence"] = in_question_first(whole.among, influence, influence)
    weights = whole.weights | ({INFLUENCE: 0.5} if through == HISTORIES else {LOSS: 0.5})
    key = summed(whole.signals | {INFLUENCE: influence, LOSS: loss}, weights, whole.among, whole.raised)
    more = "influence" if through == HISTORIES else "loss"
    return found | {f"tried: the rule and half of {more}": in_question_first(whole.among, key)}


def _parts(whole: Suspicion) -> dict[str, np.ndarray]:
    """The rule, whatever it adds in a setting, and what of it needs no model, together and alone."""
    first = FIRST[whole.through]
    unread = {name: weight for name, weight in whole.weights.items() if name in READ}
    keys = {f"{first}, then {name.replace('_', '-')}": whole.signals[name] for name in READ}
    keys[f"{first}, then what needs no model"] = summed(whole.signals, unread, whole.among, whole.raised)
    found = {name: in_question_first(whole.among, key) for name, key in keys.items()}
    return found | {f"{first}, then the rule": whole.scores}


def _shown(setting: Setting, influence: np.ndarray, loss: np.ndarray) -> dict[str, np.ndarray]:
    """Rows that are shown an article and click another."""
    attack, count = setting.attack, len(setting.ground.articles)
    whole = suspicion_of(attack.rows, count, attack.promoted, SHOWN, {INFLUENCE: influence, LOSS: loss})
    keys = {f"{FIRST[SHOWN]}, then loss": loss, f"{FIRST[SHOWN]}, then influence": influence}
    return _parts(whole) | {name: in_question_first(whole.among, key) for name, key in keys.items()}


def _tried(setting: Setting, told: Solved, influence: np.ndarray) -> dict[str, np.ndarray]:
    """Signals over groups, each second key among the rows in question."""
    attack, asked = setting.attack, setting.attack.asked
    rows = np.flatnonzero(asked)
    users = np.unique(attack.rows.user_ids.astype(str), return_inverse=True)[1]
    kernel = told.asked[rows] / np.sqrt(np.outer(told.h[rows], told.h[rows]))
    np.fill_diagonal(kernel, 0)
    everybody = told.asked.sum(axis=0) / np.sqrt(told.h[rows])
    leading = np.abs(np.linalg.eigh((kernel + kernel.T) / 2)[1][:, -1])
    same = (users[rows][:, None] == users[rows][None]) & ~np.eye(len(rows), dtype=bool)
    busy = np.array([np.sum((attack.rows.clicked == c) & (attack.days == d)) for c, d in
                     zip(attack.rows.clicked[rows], attack.days[rows], strict=True)])  # fmt: skip
    keys = {
        "a user's influence over all clicks": np.bincount(users, weights=influence)[users][rows],
        "agreement of a user's clicks in the kernel": (kernel * same).sum(axis=1),
        "density of the kernel among the article's clicks": kernel.mean(axis=1),
        "leading eigenvector of that kernel": leading,
        "support by the article's clicks, less by all": standard_ranks(kernel.mean(axis=1)) - standard_ranks(everybody),
        "clicks on the article on the same day": busy,
    }
    found = {}
    for name, key in keys.items():
        values = np.zeros(len(asked))
        values[rows] = key
        found[name] = in_question_first(asked, values)
    return found


def curve_of(setting: Setting, told: Solved) -> dict[int, np.ndarray]:
    """Clicks first, by influence, renormalised, times root Q, on the first so many targets of each article."""
    there = np.bincount(setting.attack.targets.clicked).max()
    counts = [count for count in COUNTS if count <= there]
    keys = {count: told.targets[:, i] / np.sqrt(told.h) * np.sqrt(told.q) for i, count in enumerate(counts)}
    asked = setting.attack.asked
    return {count: in_question_first(asked, key, key) for count, key in keys.items()}


def oracle(setting: Setting) -> np.ndarray:
    """(N,) how much less a row's reading is that of the promoted article's genuine readers than anybody's: naive Bayes
    over the articles in the history (for H, and the click), each row judged by the other genuine ones.

    No ranking has these labels. It shows how far bots and readers differ at all in which articles they read.
    """
    attack, rows, n = setting.attack, setting.attack.rows, len(setting.ground.articles)
    reading = [
        np.append(rows.history[i], rows.clicked[i]) if attack.kind == "H" else rows.history[i] for i in range(len(rows))
    ]
    anybody = np.bincount(np.concatenate(reading), minlength=n) + 1.0
    scores = np.full(len(rows), -np.inf)
    for article in attack.promoted:
        touched = {"H": rows.history, "S": rows.candidates}.get(attack.kind)
        has = attack.asked & (rows.clicked == article if touched is None else holds(touched, [article]))
        genuine = np.flatnonzero(has & (attack.poisoned == 0))
        counts = np.bincount(np.concatenate([reading[i] for i in genuine]), minlength=n) + 10 * anybody / anybody.sum()
        for i in np.flatnonzero(has):
            own = np.bincount(reading[i], minlength=n) if attack.poisoned[i] == 0 else 0
            other = (counts - own)[reading[i]] / (counts - own).sum()
            real = reading[i] != article
            scores[i] = max(scores[i], -np.log(other / anybody[reading[i]] * anybody.sum())[real].sum())
    return np.where(np.isfinite(scores), scores, 0.0)
