"""Ticks of axes that are not linear, so that their names stand apart. Not here: scales, drawing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

MINUS = "\N{MINUS SIGN}"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TICKS_APART = 0.11  # of an axis, between two ticks


def short(value: float) -> str:
    """Three digits of a number, a zero without a sign, small and large ones with a power of ten."""
    digits, _, power = f"{value + 0.0:.3g}".partition("e")
    return (digits + (f"·10{str(int(power)).translate(RAISED)}" if power else "")).replace("-", MINUS)


def score_ticks(edges: np.ndarray, scale: dict[str, Any]) -> tuple[list[float], list[str]]:
    """Ticks of a logarithmic score axis that stand apart, and their names: powers of ten, and 0 where it is inside."""
    low, high = float(edges[0]), float(edges[-1])
    sizes = np.abs([low, high]).max()
    least = low if scale["value"] == "log" else scale["linear_width"]
    powers = (10.0 ** np.arange(np.ceil(np.log10(sizes)), np.floor(np.log10(least)) - 1, -1)).tolist()
    wanted = [0.0, *(sign * power for power in powers for sign in (1, -1))]
    wanted += [sign * m * power for power in powers for m in (5, 2) for sign in (1, -1)]
    if scale["value"] == "log":
        return apart([x for x in wanted if x > 0], low, high, np.log)
    return apart(wanted, low, high, lambda x: np.arcsinh(np.asarray(x) / scale["linear_width"]))


def apart(
    wanted: Sequence[float], low: float, high: float, place: Callable[[float], float]
) -> tuple[list[float], list[str]]:
    """Those of the values that lie inside and not too near to one before them, in order, and their names.

    Args:
        wanted: values, the most wanted first.
        low, high: ends of the axis.
        place: of a value on the axis, in any unit.
    """
    first, last = place(low), place(high)
    if first == last:
        return [low], [_power(low)]
    kept: dict[float, float] = {}
    for value in wanted:
        at = (place(value) - first) / (last - first)
        if -1e-9 <= at <= 1 + 1e-9 and all(abs(at - other) >= TICKS_APART for other in kept.values()):
            kept[value] = at
    ticks = sorted(kept)
    return ticks, [_power(value) for value in ticks]


def _power(value: float) -> str:
    """A tick's name: as it is written where that is short, else by its power of ten."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:g}".replace("-", "\N{MINUS SIGN}")
    digit, exponent = f"{abs(value):.0e}".split("e")
    times = "" if digit == "1" else rf"{digit}{{\cdot}}"
    return rf"${'-' * (value < 0)}{times}10^{{{int(exponent)}}}$"


def set_ticks(axes: Any, ticks: Sequence[float], names: Sequence[str]) -> None:
    """These ticks on the x axis and no others."""
    axes.set_xticks(ticks, names)
    axes.set_xticks([], minor=True)
