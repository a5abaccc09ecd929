"""Bots whose accounts have a past: what stands in their histories they have clicked, row by row. Not here: the attacks.

In attacks.py a bot is one row with a history that was made up for it, which no other row of the log backs. Here each
bot has clicked what it has read, as users of a log that goes on have: history h1 .. hk, click h(k+1), for all k but
where that would click a promoted article. What is found of an attack with this is found of bots that take the time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from attacks import Attack, Ground, bot_rows, joined, others_of


def lived(ground: Ground, attack: Attack, seed: int) -> Attack:
    """The attack with the bots' earlier rows, poisoned too, on the first day."""
    rng = np.random.default_rng([seed, len(attack.rows)])
    popularity = np.bincount(ground.rows.clicked, minlength=len(ground.articles)) + 1.0
    histories, candidates, users = [], [], []
    for i in np.flatnonzero(attack.poisoned).tolist():
        history = attack.rows.history[i].tolist()
        for k in range(1, len(history)):
            if history[k] in attack.promoted or history[k] in history[:k]:
                continue
            barred = np.zeros(len(popularity), dtype=bool)
            barred[[*history[: k + 1], *attack.promoted]] = True
            histories.append(np.array(history[:k]))
            candidates.append([history[k], *others_of(popularity, barred, 4, rng)])
            users.append(attack.rows.user_ids[i])
    earlier = replace(bot_rows(histories, candidates, ground.fake), user_ids=np.array(users, dtype=object))
    more = len(earlier)
    return replace(
        attack,
        rows=joined([attack.rows, earlier]),
        poisoned=np.concatenate([attack.poisoned, np.ones(more, dtype=int)]),
        days=np.concatenate([attack.days, np.zeros(more, dtype=int)]),
    )
