"""Numbers about a ranking -> one word, its reason, what would improve it and what that costs. Not here: the numbers.

The thresholds stand in one table, `Thresholds`; docs/trust.md prints it with the evidence for each.
"""

from __future__ import annotations

from dataclasses import dataclass

from rec_trak.trust.agreement import length_for
from rec_trak.trust.measures import Measures
from rec_trak.trust.prediction import CURVATURE, FOLLOWING, NOISE

STABLE, INDICATIVE, DO_NOT_USE = "stable", "indicative", "do not use"
WORDS = (STABLE, INDICATIVE, DO_NOT_USE)
USUAL_RIDGE = 1.0
NEAR = 0.05  # of reliability: the sketch, not the members, is what limits
BYTES = 4  # of a stored number


@dataclass(frozen=True)
class Thresholds:
    """Where the words change.

    Attributes:
        stable, least: `predicted`; from here on stable, below do not use.
        ridge: agreement with the rankings at a third and at three times the ridge; below, not stable.
        null: shuffled rows may agree by so much; above, do not use.
        law: |Q grad f + grad L| / |grad L| on real rows; above, do not use.
    """

    stable: float = 0.75
    least: float = 0.72
    ridge: float = 0.8
    null: float = 0.1
    law: float = 0.05


@dataclass(frozen=True)
class Verdict:
    """What is to be thought of a ranking.

    Attributes:
        word: one of WORDS.
        reason: why not better; or, of a stable one, what that rests on.
        improvement: the setting that would help most; empty where nothing is needed.
        cost: what that costs.
        notes: what else a reader should know.
    """

    word: str
    reason: str
    improvement: str = ""
    cost: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Problem:
    """Something that keeps a ranking from being stable, and the setting that helps: see `_advice`."""

    word: str
    reason: str
    setting: str = ""


def judge(measures: Measures, thresholds: Thresholds | None = None) -> Verdict:
    """The verdict on a ranking: the worst that any measure says. One member alone is never stable."""
    limits = thresholds or Thresholds()
    found = [*_broken(measures, limits), *_noisy(measures, limits), *_unknown(measures, limits)]
    found.sort(key=lambda problem: WORDS.index(problem.word), reverse=True)
    if not found:
        reason = f"predicted quality {measures.predicted:.2f}: {_repeats(measures)}"
        return Verdict(STABLE, reason, notes=_notes(measures))
    improvement, cost = _advice(measures, limits, found[0].setting)
    others = tuple(f"also: {problem.reason}" for problem in found[1:])
    return Verdict(found[0].word, found[0].reason, improvement, cost, (*others, *_notes(measures)))


def _broken(m: Measures, limits: Thresholds) -> list[_Problem]:
    """What makes the numbers meaningless."""
    found = []
    if m.predicted is None:
        found.append(_Problem(DO_NOT_USE, "the scores are all alike, there is nothing to rank"))
    allowed = max(limits.null, 4 / (5 * max(m.rows - 1, 1)) ** 0.5)
    if m.null is not None and abs(m.null) > allowed:
        found.append(_Problem(DO_NOT_USE, f"shuffled rows agree too (by {m.null:.2f}), so agreement says nothing"))
    if m.law is not None and m.law > limits.law:
        reason = f"Q grad f is not - grad L (off by {m.law:.2g}): the stored Q is not the loss's"
        found.append(_Problem(DO_NOT_USE, reason))
    return found


def _noisy(m: Measures, limits: Thresholds) -> list[_Problem]:
    """What `predicted` says, with the largest of its losses as the reason."""
    if m.predicted is None or m.predicted >= limits.stable:
        return []
    left = {NOISE: m.kept_noise, FOLLOWING: m.kept_following, CURVATURE: m.kept_curvature}
    worst = min(left, key=left.get)
    reason, setting = {
        NOISE: (_repeats(m), _scarce(m)),
        FOLLOWING: (_follows(m), "ridge up"),
        CURVATURE: (_flattens(m), "ridge down"),
    }[worst]
    word = DO_NOT_USE if m.predicted < limits.least else INDICATIVE
    return [_Problem(word, f"predicted quality {m.predicted:.2f}: {reason}", setting)]


def _unknown(m: Measures, limits: Thresholds) -> list[_Problem]:
    """What cannot be judged, or depends on a choice."""
    found = []
    moved = min((r for r in (m.smaller_ridge, m.larger_ridge) if r is not None), default=None)
    if moved is not None and moved < limits.ridge:
        reason = f"a ridge three times as large or small gives another ranking (agreement {moved:.2f})"
        found.append(_Problem(INDICATIVE, reason, "ridge up"))
    if m.members == 1:
        reason = "one member: how much of it another training would repeat cannot be judged"
        found.append(_Problem(INDICATIVE, reason, "members"))
    return found


def _repeats(m: Measures) -> str:
    """What the reliability of a ranking is."""
    sums = m.targets is not None
    sketch = m.projection_sums if sums else m.projection_reliability
    members = m.checkpoint_sums if sums else m.checkpoint_reliability
    what = f"{'sums of scores' if sums else 'ranks'} from another sketch"
    if members is None:
        return f"{what} would agree by {sketch:.2f}"
    return f"{what} would agree by {sketch:.2f}, from {m.members} other members by {members:.2f}"


def _follows(m: Measures) -> str:
    """What a small ridge did."""
    found = f"mean leverage {m.mean_leverage:.2f}, the system follows single rows"
    if m.explained is None:
        return found
    return f"{found}; it explains {m.explained:.2f} of left-out margins, with a larger ridge {m.explained_larger:.2f}"


def _flattens(m: Measures) -> str:
    """What a large ridge did."""
    found = f"little but plain products of gradients (agreement {m.dot_product or 0:.2f})"
    if m.explained is None:
        return found
    return f"{found}; it explains {m.explained:.2f} of left-out margins, with a smaller ridge {m.explained_smaller:.2f}"


def _scarce(m: Measures) -> str:
    """Which of members and sketch limits the reliability."""
    sums = m.targets is not None
    sketch, members = (
        (m.projection_sums, m.checkpoint_sums) if sums else (m.projection_reliability, m.checkpoint_reliability)
    )
    return "members" if members is not None and members < sketch - NEAR else "sketch"


def _advice(m: Measures, limits: Thresholds, setting: str) -> tuple[str, str]:
    """What to set, and what it costs."""
    again = "scoring again; no gradient is computed"
    if setting == "ridge up":
        return f"`lambda_rel` {max(3 * m.lambda_rel, USUAL_RIDGE):.3g} instead of {m.lambda_rel:.3g}", again
    if setting == "ridge down":
        return f"`lambda_rel` {min(m.lambda_rel / 3, USUAL_RIDGE):.3g} instead of {m.lambda_rel:.3g}", again
    if setting == "sketch":
        disk = f"{_size(m.members * m.rows * BYTES * 2 * m.proj_dim)} on disk"
        return (
            f"`proj_dim` {2 * m.proj_dim:,} instead of {m.proj_dim:,}, or more members",
            f"featurizing again, which takes about as long as it took, and {disk}",
        )
    if setting == "members":
        more = _wanted(m, limits) - m.members
        disk = f"{_size(more * m.rows * BYTES * m.proj_dim)} on disk"
        return (
            f"{m.members + more} members instead of {m.members}",
            f"{more} more training{'s' * (more != 1)}, {more / m.members:.1f} times the featurizing so far, {disk}",
        )
    return "", ""


def _wanted(m: Measures, limits: Thresholds) -> int:
    """Members that would make the ranking stable, at most four times those there are; 5 where one cannot tell."""
    reliability = m.checkpoint_reliability if m.targets is None else m.checkpoint_sums
    if not reliability or not m.predicted:
        return max(5, 2 * m.members)
    wanted = min(reliability * (limits.stable / m.predicted) ** 2, 0.99)
    growth = (m.growth or 1.0) if m.targets is None else 1.0  # sums grow as Spearman and Brown say
    return max(m.members + 1, min(length_for(wanted, reliability, m.members, growth) or 1, 4 * m.members))


def _notes(m: Measures) -> tuple[str, ...]:
    if not m.share_above_nine_tenths:
        return ()
    return (f"{100 * m.share_above_nine_tenths:.1f} % of the rows have a leverage above 0.9: learnt by heart",)


def _size(count: float) -> str:
    """Bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
