"""The figure of theory.py: the projection law over the measured points, and what a ridge does. Not here: any number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

COLOURS = {1: "#0072B2", 10: "#D55E00"}  # Okabe and Ito's, as in rec_trak/panels.py; dashes say the same
DASHES = {1: "-", 10: (0, (5, 2))}
MARKERS = {40: "o", 200: "s", 400: "^"}
RIDGES = {
    "0": ("no ridge", "-", "o"),
    "matched": ("matched ridge", (0, (5, 2)), "s"),
    "1": ("lambda_rel 1", (0, (1, 1.5)), "^"),
}
P, L2 = 200, 0.1  # of the lower panels


def draw(means: list[dict], measured: list[dict], law: Callable[[int, int, int], float], path: Path) -> None:
    """Write the figure: a column a family; above, the law at ridge 0; below, Spearman with exact leave-one-out.

    Args:
        means: lines of theory.averaged.
        measured: lines of theory.law_lines.
        law: (K, rank, E) -> correlation.
        path: a PNG.
    """
    families = list(dict.fromkeys(mean["family"] for mean in means))
    p = P if any(mean["p"] == P for mean in means) else means[0]["p"]
    figure = Figure(figsize=(13, 8.4), layout="constrained")
    panels = figure.subplots(2, len(families), sharey="row", squeeze=False)
    for column, family in enumerate(families):
        _law_panel(panels[0, column], [mean for mean in measured if mean["family"] == family], law, family)
        own = [mean for mean in means if (mean["family"], mean["p"], mean["l2"]) == (family, p, L2)]
        _ridge_panel(panels[1, column], own, f"{family}, p = {p}, l2 = {L2}")
    panels[0, 0].set_ylabel("correlation with unprojected TRAK,\nridge 0")
    panels[1, 0].set_ylabel("Spearman with exact\nleave-one-out")
    _legends(panels, sorted({mean["p"] for mean in measured}))
    figure.savefig(path, dpi=130)


def _law_panel(axes: Axes, lines: list[dict], law: Callable[[int, int, int], float], family: str) -> None:
    shares = np.linspace(0.005, 1, 400)
    for members, colour in COLOURS.items():
        curve = [law(share, 1, members) for share in shares]
        axes.plot(shares, curve, color=colour, linestyle=DASHES[members], linewidth=1.8)
        for line in lines:
            if line["members"] == members:
                value, ends = line["with unprojected"], line["with unprojected range"]
                axes.errorbar(
                    line["K"] / line["p"], value, yerr=[[value - ends[0]], [ends[1] - value]], fmt=MARKERS[line["p"]],
                    color=colour, markersize=6, markerfacecolor="white" if line["l2"] < 1 else colour, linewidth=1,
                )  # fmt: skip
        for p in MARKERS:
            own = [m for m in lines if (m["members"], m["p"], m["l2"]) == (members, p, L2)]
            axes.plot([m["K"] / p for m in own], [m["predicted, unprojected"] for m in own], "k:", linewidth=1.3)
    axes.set(title=family, xlabel="K / rank", xscale="log")
    _ticks(axes)


def _ridge_panel(axes: Axes, lines: list[dict], title: str) -> None:
    for members, colour in COLOURS.items():
        for ridge, (_, dash, marker) in RIDGES.items():
            own = [m for m in lines if (m["members"], m["ridge"]) == (members, ridge) and m["K"]]
            solved = [m for m in own if m["spearman"] is not None]
            axes.plot(
                [m["K"] / m["p"] for m in solved], [m["spearman"] for m in solved],
                color=colour, linestyle=dash, marker=marker, markersize=5, linewidth=1.5,
            )  # fmt: skip
            axes.plot([m["K"] / m["p"] for m in own if m["spearman"] is None], [0.02] * (len(own) - len(solved)),
                      "x", color="black", markersize=8)  # fmt: skip
    axes.axvline(1, color="#7F7F7F", linewidth=0.8)
    axes.set(title=title, xlabel="K / p", xscale="log")
    _ticks(axes)


def _ticks(axes: Axes) -> None:
    places = [0.02, 0.05, 0.1, 0.2, 0.5, 1]
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.set_xticks([], minor=True)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set(xlim=(0.015, 1.9), ylim=(0, 1.25))
    axes.grid(alpha=0.25)


def _legends(panels: np.ndarray, sizes: list[int]) -> None:
    members = [
        Line2D([], [], color=colour, linestyle=DASHES[count], label=f"flat law, E = {count}")
        for count, colour in COLOURS.items()
    ]
    points = [Line2D([], [], color="black", marker=MARKERS[p], linestyle="", label=f"measured, p = {p}") for p in sizes]
    filled = [Line2D([], [], color="black", marker="o", markerfacecolor=face, linestyle="", label=f"l2 = {l2}")
              for l2, face in ((0.1, "white"), (1, "black"))]  # fmt: skip
    dotted = Line2D([], [], color="black", linestyle=":", label="law of the spectrum")
    panels[0, 0].legend(handles=[*members, dotted, *points, *filled], fontsize=8, loc="upper left", ncols=2)
    ridges = [
        Line2D([], [], color="black", linestyle=dash, marker=marker, label=name)
        for name, dash, marker in RIDGES.values()
    ]
    colours = [Line2D([], [], color=colour, label=f"E = {count}") for count, colour in COLOURS.items()]
    refused = Line2D([], [], color="black", marker="x", linestyle="", label="no solution")
    panels[1, 0].legend(handles=[*ridges, *colours, refused], fontsize=8, loc="upper left", ncols=2)
