"""How rarely do shuffled logs give an article as many marked ones? Not here: what is marked, or what is suspicious.

Things (rows, or pairs of a user and an article) are of an article each, some are marked, and they fall into groups. In
a shuffled log marks change places within their group, so that every article keeps its popularity in each. The count of
an article's marked ones is then nearly a sum of binomials, one a group. The share of shuffled logs with more of them
(of those with as many, half: the mid-p value) is told as the standard normal deviate that is as rare; a count over its
standard deviation would take a few of a rare kind for much. Tails are by saddlepoints: with K the logarithm of the
sum's moment generating function, K'(t) = x half a count away, r = sign(t) sqrt(2 (t x - K(t))) and
u = 2 sinh(t / 2) sqrt(K''(t)), the tail is a normal's from r + log(u / r) / r on. Articles with a good part of all
things vary less than binomials do: the deviate is multiplied by the ratio of the standard deviations.

Sources: Lancaster 1961 (mid-p); Daniels 1987 (tails of lattice sums); Barndorff-Nielsen 1986 (the form of r and u).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.special import ndtr, ndtri

MOST = 30.0  # a deviate, at most
PEERS, LONG = 100, 15  # things in a group by size; from LONG on sizes are one
STEPS, FAR = 60, 40.0  # bisections for t, and where they begin: exp(40) outweighs any count
NEAR = 1e-3  # below it log(u / r) / r is its limit, a sixth of the skewness


def rarity(items: np.ndarray, marked: np.ndarray, count: int, groups: np.ndarray | None = None) -> np.ndarray:
    """(count,) deviates of how many of each item's things are marked; 0 where chance leaves no room.

    Args:
        items: (n,) the item of each thing, below `count`.
        marked: (n,) bool.
        groups: (n,) numbers from 0; None for one group.
    """
    groups = np.zeros(len(items), dtype=np.int8) if groups is None else groups
    return rarity_of([(items, marked, groups)], count, int(groups.max(initial=0)) + 1)


def rarity_of(parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], count: int, groups: int) -> np.ndarray:
    """`rarity` of things that come in parts: items, marked, and groups below `groups`."""
    own, found = np.zeros((2, count * groups))
    for items, marked, group in parts:
        place = items.astype(np.int64) * groups + group
        own += np.bincount(place, minlength=count * groups)
        found += np.bincount(place[marked], minlength=count * groups)
    own, found = own.reshape(count, groups), found.reshape(count, groups)
    size = own.sum(axis=0)
    share = found.sum(axis=0) / np.maximum(size, 1)
    some = (share > 0) & (share < 1)  # in the others marks have no place to go
    own, found, share, size = own[:, some], found[:, some].sum(axis=1), share[some], size[some]
    binomial = own @ (share * (1 - share))
    left = (own * (size - own) / np.maximum(size - 1, 1)) @ (share * (1 - share))
    room = left > 0
    deviates = np.zeros(count)
    deviates[room] = deviates_of(found[room], own[room], share) * np.sqrt(binomial[room] / left[room])
    return np.clip(deviates, -MOST, MOST)


def deviates_of(found: np.ndarray, own: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(m,) deviates of counts (m,) that are sums of binomials: of `own` (m, g) things, chances (g,)."""
    rare = found >= own @ share  # the tail that is short is worked out, since 1 less it would lose it
    above, below = (_edge(found + half, own, share) for half in (-0.5, 0.5))
    tails = [ndtr(np.where(rare, -edge, edge)) for edge in (above, below)]
    with np.errstate(divide="ignore"):
        return np.where(rare, -1, 1) * ndtri(sum(tails) / 2)


def _edge(x: np.ndarray, own: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(m,) the point of a standard normal that has as much above it as the sums have above x."""
    low, high = np.full(len(x), -FAR), np.full(len(x), FAR)
    for _ in range(STEPS):
        t = (low + high) / 2
        odds = share * np.exp(t)[:, None]
        over = (own * odds / (1 - share + odds)).sum(axis=1) > x
        low, high = np.where(over, low, t), np.where(over, t, high)
    t = (low + high) / 2
    chance = share * np.exp(t)[:, None]
    chance /= 1 - share + chance
    r = np.sign(t) * np.sqrt(np.maximum(2 * (t * x - (own * np.log1p(share * np.expm1(t)[:, None])).sum(axis=1)), 0))
    u = 2 * np.sinh(t / 2) * np.sqrt((own * chance * (1 - chance)).sum(axis=1))
    skew = own @ (share * (1 - share) * (1 - 2 * share)) / (own @ (share * (1 - share))) ** 1.5
    edge = np.where(x < 0, -np.inf, np.inf)
    inside = (x > 0) & (x < own.sum(axis=1))
    near, far = inside & (np.abs(t) < NEAR), inside & (np.abs(t) >= NEAR)
    edge[near] = r[near] + skew[near] / 6
    edge[far] = r[far] + np.log(u[far] / r[far]) / r[far]
    return edge


def against_others(values: np.ndarray) -> np.ndarray:
    """(n,) each value less the median, over 1.4826 times the median absolute deviation, at least 1."""
    if not len(values):
        return values
    centre = np.median(values)
    return (values - centre) / max(1.4826 * float(np.median(np.abs(values - centre))), 1.0)


def groups_by_size(sizes: np.ndarray, least: int = PEERS) -> np.ndarray:
    """(n,) groups of things of like size: neighbouring sizes together until there are `least` of them."""
    sizes = np.minimum(sizes, LONG)
    group, having, of = 0, 0, []
    for count in np.bincount(sizes).tolist():
        of.append(group)
        having += count
        if having >= least:
            group, having = group + 1, 0
    if having < least:
        of = np.minimum(of, max(group - 1, 0)).tolist()  # the last have too few: with those before
    return np.array(of, dtype=np.int64)[sizes]
