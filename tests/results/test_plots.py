"""The figures: what they draw, and that no input breaks them. How they look was judged by eye."""

import io
import re
import subprocess
import sys
import warnings
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from rec_trak.errors import ConfigError, DataError, NumericalError
from rec_trak.results.panels import class_histogram, drawable
from rec_trak.results.plots import (
    plot_detection_curves,
    plot_ridge_search,
    plot_score_comparison,
    plot_score_distribution,
    plot_top_influential_samples,
)
from rec_trak.results.ranking import rank_training_samples
from rec_trak.results.style import figure_files


def titles_of(figure) -> list[str]:
    """The heading of each panel, wherever it stands."""
    return ["".join(axes.get_title(loc=place) for place in ("left", "center", "right")) for axes in figure.axes]


PNG = b"\x89PNG\r\n\x1a\n"
HOSTILE = (
    "Costs $5 & $10: 50% off_now^2 \\frac{",
    "日本語の見出しがここにあります",
    "😀 Emoji 👩‍👩‍👧 headline 🎉",
    "مرحبا بالعالم خبر",
    "W" * 500,
    "",
    "two\nlines\ttab\x00\x1b[0m",
    "\ud83d lone surrogate",
)


@pytest.fixture(autouse=True)
def _no_warnings():
    """Missing glyphs, empty legends and collapsed axes all come as warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def skewed(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(-4, 1.5, n)).astype(np.float32), rng.integers(-1, 2, n)


def draw(figure: Figure) -> Figure:
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    return figure


def bars(axes) -> int:
    """Rows that a panel's histogram counts: the sum of its bars' heights."""
    return round(sum(float(patch.get_height()) for patch in axes.patches))


def test_all_rows_are_in_the_histogram_even_when_log_scaled():
    """Law: binning loses no row, on a linear axis, a log axis and one that is log on both sides of 0."""
    rng = np.random.default_rng(1)
    cases = {"linear": rng.normal(size=400), "log": np.exp(rng.normal(0, 2, 400)), "asinh": rng.standard_t(1, 400)}
    for scale, scores in cases.items():
        panel = plot_score_distribution(scores, np.zeros(400)).axes[0]
        assert panel.get_xscale() == scale
        assert bars(panel) == 400


def test_legends_count_each_class_and_hatches_tell_fake_from_real():
    """Law: counts stand in the legend, and classes differ in more than colour."""
    labels = np.array([1] * 7 + [0] * 2 + [-1])
    panel = plot_score_distribution(np.arange(10.0), labels).axes[1]
    texts = [text.get_text() for text in panel.get_legend().get_texts()]
    assert [text.split(",")[0] for text in texts] == ["fake: 7 rows", "real: 2 rows", "unknown: 1 row"]
    assert len({(patch.get_hatch(), patch.get_facecolor()) for patch in panel.patches}) == 3
    assert len({patch.get_hatch() for patch in panel.patches}) == 3


def test_axes_carry_the_name_and_unit_of_the_score():
    """Law: every score axis, or the last of those that share one, says what the score is and its unit, by default
    self-influence."""
    scores, labels = skewed(40)
    ranking = rank_training_samples(scores, labels, 5)
    assert "Q·h (margin units)" in plot_score_distribution(scores, labels).axes[0].get_xlabel()
    for figure in (
        plot_score_distribution(scores, labels, score_name="influence (nats)"),
        plot_top_influential_samples(ranking, score_name="influence (nats)"),
        plot_score_comparison(scores[:9], labels[:9], scores, labels, score_name="influence (nats)"),
    ):
        shared = figure.axes[0].get_shared_x_axes().get_siblings(figure.axes[0])
        named = figure.axes if len(shared) == 1 else figure.axes[-1:]
        assert all(axes.get_xlabel().startswith("influence (nats)") for axes in named)


@pytest.mark.parametrize(("value", "label"), [(0.0, 1), (3.5, 0), (-1e-12, -1)])
def test_constant_scores_of_one_class_can_be_drawn(value, label, tmp_path):
    """Law: constant scores and a single class are results too."""
    scores, labels = np.full(6, value), np.full(6, label)
    figure = plot_score_distribution(scores, labels, tmp_path / "d.png")
    assert bars(figure.axes[0]) == 6
    draw(plot_top_influential_samples(rank_training_samples(scores, labels, 3)))
    draw(plot_score_comparison(scores, labels, scores, labels))
    draw(plot_score_distribution(scores[:1], labels[:1]))


def test_bars_show_the_lists_and_headlines(tmp_path):
    """Law: bars stand in the order of the ranking, named by headline and row; the lowest scores close their panel."""
    scores, labels = np.array([3.0, 1.0, -2.0, 0.5]), np.array([1, 0, 1, -1])
    ranking = rank_training_samples(scores, labels, 4)
    figure = plot_top_influential_samples(ranking, tmp_path / "t.png", top_k=2, titles=["A", "B", "C", "D"])
    names = [[text.get_text() for text in axes.get_yticklabels()] for axes in figure.axes]
    assert names == [["A  row 0", "B  row 1"], ["D  row 3", "C  row 2"], ["A  row 0", "C  row 2"], ["B  row 1"]]
    widths = {patch.get_y() + patch.get_height() / 2: patch.get_width() for patch in figure.axes[1].patches}
    assert {round(place): width for place, width in widths.items()} == {1: 0.5, 2: -2.0}
    assert (tmp_path / "t.png").read_bytes().startswith(PNG)


def test_without_titles_bars_have_numbers_and_no_more_stand_there_than_can_be_read():
    """Law: row numbers stand in for headlines; one panel has at most 20 bars, several have at most 10 each."""
    scores, labels = skewed(70)
    few = plot_top_influential_samples(rank_training_samples(scores, labels, 70), top_k=3)
    assert few.axes[0].get_yticklabels()[0].get_text() == f"row {int(np.argmax(scores))}"
    many = plot_top_influential_samples(rank_training_samples(scores, labels, 70), top_k=70, titles=["A"] * 70)
    assert [len(axes.patches) for axes in many.axes] == [10] * 3
    one = plot_top_influential_samples(rank_training_samples(scores, np.full(70, -1), 70), top_k=70)
    assert [len(axes.patches) for axes in one.axes] == [20]


def test_panels_of_bars_have_one_scale():
    """Law: a bar twice as long is a score twice as high, whichever panel it stands in."""
    scores, labels = np.array([3.0, 1.0, -2.0, 0.5]), np.array([1, 0, 1, 0])
    figure = plot_top_influential_samples(rank_training_samples(scores, labels, 2))
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


@pytest.mark.parametrize("columns", [1, 2])
def test_figures_fit_a_column_of_a_paper(columns):
    """Law: 3.33 or 6.9 inches wide and at most a page high, type of 8 points and nothing else, no heading, nothing
    outside the figure, no names of ticks that touch, whatever stands in it."""
    rng = np.random.default_rng(4)
    scores, labels = rng.standard_t(3, 300), rng.integers(-1, 2, 300)
    line = [(f"a ranking of a very long name, number {i}", [0, 0.5, 1], [1, 0.5, 0.3]) for i in range(4)]
    curve = [{"K": k, "lambda_rel": x, "lds": 0.3, "interval": [0.2, 0.4]} for k in (64, 512) for x in (0.1, 1, 10)]
    own = {"K": 64, "lambda_rel": 1}
    figures = [
        plot_score_distribution(scores, labels, members=3, columns=columns),
        plot_top_influential_samples(
            rank_training_samples(scores, labels, 50), titles=["A headline of many words " * 5] * 300, columns=columns
        ),
        plot_score_comparison(scores, labels, scores[::-1], labels, columns=columns),
        plot_detection_curves([("Poisoned clicks against all others", line, line, 0.25)] * 2, columns=columns),
        plot_ridge_search(curve, own, own, columns=columns),
    ]
    for figure in map(draw, figures):
        assert figure.get_figwidth() == {1: 3.33, 2: 6.9}[columns]
        assert figure.get_figheight() < (9 if columns == 2 else 13.5)
        assert figure.get_suptitle() == ""
        figure.draw_without_rendering()
        drawn = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        assert {text.get_fontsize() for text in drawn} == {8}
        ticks = [
            text for axes in figure.axes for text in axes.get_xticklabels()
        ]  # some stand outside and are not drawn
        for text in set(drawn) - set(ticks):
            box = text.get_window_extent()
            assert box.x0 >= -1, text
            assert box.x1 <= figure.bbox.x1 + 1, text
        assert [crossing_ticks(axes) for axes in figure.axes] == [[]] * len(figure.axes)
    members = [text.get_text() for text in figures[0].axes[0].findobj(Text)]
    assert "All 300 rows, mean of 3 checkpoints" in members


def test_files_of_a_figure():
    """Law: PNG alone, or PDF and SVG of two widths beside it; drawn again, the same bytes; no date in any."""

    def files() -> dict[str, bytes]:
        drawn = partial(plot_score_distribution, [1.0, 2.0, 4.0], [0, 1, 0])
        written = {}
        for name, write in figure_files("d", lambda columns: drawn(columns=columns), vector=True).items():
            write(file := io.BytesIO())
            written[name] = file.getvalue()
        return written

    first, again = files(), files()
    assert list(first) == ["d.png", "d.pdf", "d_column.pdf", "d.svg", "d_column.svg"]
    assert first == again
    for name, content in first.items():
        assert content.startswith({"png": PNG, "pdf": b"%PDF", "svg": b"<?xml"}[name[-3:]])
    assert list(figure_files("d", lambda columns: plot_score_distribution([1.0, 2.0], [0, 1]))) == ["d.png"]


def test_panels_that_would_repeat_or_be_empty_are_left_out():
    """Law: of one class, or none, there is no second panel of the same rows, nor of those that stand on top anyway; low
    self-influence is none to draw."""
    figure = plot_top_influential_samples(rank_training_samples([4.0, 3.0, 2.0, 1.0], [1, 1, 0, 0], 2), top_k=2)
    assert titles_of(figure) == ["Highest scores: 2 rows (2 fake)", "Highest scores, real article clicked"]
    for label in (1, -1):
        figure = plot_top_influential_samples(rank_training_samples([1.0, 2.0], [label] * 2, 2))
        assert len(figure.axes) == 1
        assert len(plot_score_distribution([1.0, 2.0], [label] * 2).axes) == 1


def test_without_labels_nothing_is_said_of_classes():
    """Law: where nobody said what is fake no figure has a class in it: no word, no legend, no grey of the unknown."""
    scores, nobody = np.array([3.0, 1.0, -2.0, 0.5]), np.full(4, -1)
    top = plot_top_influential_samples(rank_training_samples(scores, nobody, 4))
    assert titles_of(top) == [
        "Highest scores: 4 rows", "Lowest scores (below 0: opponents): 4 rows"]  # fmt: skip
    assert top.legends == []
    compared = plot_score_comparison(scores, nobody, scores[::-1], nobody)
    texts = [text.get_text() for axes in compared.axes for text in axes.get_legend().get_texts()]
    assert not [text for text in texts if "unknown" in text]
    assert texts[0] == "4 rows, median 0.75"


def test_hostile_titles_are_drawn_without_a_warning(tmp_path):
    """Law: no headline crashes a figure, warns of a glyph, or is read as mathematics."""
    n = len(HOSTILE)
    ranking = rank_training_samples(np.arange(n, dtype=float), np.arange(n) % 2, n)
    figure = plot_top_influential_samples(ranking, tmp_path / "t.png", titles=HOSTILE)
    names = {text.get_text().rsplit("  row ")[-1]: text.get_text() for text in figure.axes[0].get_yticklabels()}
    assert names["0"].startswith(r"Costs \$5 & \$10: 50% off_now^2 \frac{")
    assert re.fullmatch("W{20,40}…  row 4", names["4"])
    assert names["6"] == "two lines tab[0m  row 6"
    assert names["row 5"] == "row 5"  # no headline
    assert "row 1" in names or names["1"].startswith("日本語")  # where a font has these letters
    assert names["3"] == "\u2068مرحبا بالعالم خبر\u2069  row 3"
    plot_score_distribution([1.0, 2.0], [0, 1], tmp_path / "d.png", title="$\\frac{ 日本 😀 " * 40)


def test_no_text_leaves_the_page_or_covers_another():
    """Law: labels of 50 long headlines stay inside the figure and apart from each other."""
    scores, labels = skewed(200)
    figure = plot_top_influential_samples(rank_training_samples(scores, labels, 50), titles=["W " * 300] * 200)
    figure.draw_without_rendering()
    page = figure.bbox
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.get_yticklabels()]
        assert all(box.x0 >= page.x0 and box.x1 <= page.x1 for box in boxes)
        assert all(lower.y1 <= upper.y0 + 0.5 for upper, lower in pairwise(boxes))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        (" a  b\n", "a b"),
        ("123456789012", "123456789…"),
        ("$x$", r"\$x\$"),
        ("\U00012000\U00012001", ""),
        ("?!", ""),
    ],
)
def test_drawable_keeps_what_can_be_read(text, expected):
    """Law: one line, cut to its width, no mathematics; '' where too little could be read."""
    assert drawable(text, 10) == expected


def test_comparison_draws_ranks_of_the_given_pairs(tmp_path):
    """Law: the scatter shows percentiles of rank within the pairs, whatever the scale of the scores."""
    clean, poisoned = np.array([1.0, 2.0, 3.0]), np.array([9.0, 1e6, -5.0, 30.0])
    pairs = ([0, 1, 2], [3, 0, 2])
    figure = plot_score_comparison(clean, [0, 0, 0], poisoned, [0, 0, 0, 1], tmp_path / "c.png", pairs=pairs)
    points = figure.axes[2].collections[0].get_offsets()
    assert np.asarray(points).tolist() == [[100, 1], [50.5, 50.5], [1, 100]]
    assert figure.axes[3].get_legend().get_texts()[0].get_text() == "real: 3 rows, mean 0.0"
    assert (tmp_path / "c.png").read_bytes().startswith(PNG)


def test_comparison_without_pairs_never_matches_by_position_alone():
    """Law: equal lengths are taken row by row; unequal ones get a sentence in place of a scatter."""
    scores, labels = skewed(30)
    assert len(plot_score_comparison(scores, labels, scores, labels).axes) == 4
    figure = plot_score_comparison(scores[:20], labels[:20], scores, labels)
    assert len(figure.axes) == 2
    assert "20 and 30 rows, and nothing says which are the same" in figure.get_supxlabel()


def test_bad_input_is_refused():
    """Law: nothing is drawn of numbers that a ranking would refuse."""
    with pytest.raises(NumericalError, match="plot_score_distribution: the score of row 1 is not finite"):
        plot_score_distribution([1.0, np.nan], [0, 1])
    with pytest.raises(DataError, match="plot_score_distribution: `scores` must be one number a row"):
        plot_score_distribution([], [])
    with pytest.raises(DataError, match=r"poisoned run: label of row 0\. Got 7"):
        plot_score_comparison([1.0], [0], [1.0], [7])
    with pytest.raises(DataError, match=r"`pairs` are no pairs\. Got shapes \(2,\) and \(1,\)"):
        plot_score_comparison([1.0, 2.0], [0, 0], [1.0], [0], pairs=([0, 1], [0]))
    ranking = rank_training_samples([1.0, 2.0], [0, 1], 2)
    with pytest.raises(ConfigError, match="`top_k`: not the length of a list"):
        plot_top_influential_samples(ranking, top_k=0)
    with pytest.raises(DataError, match=r"too few `titles`\. Got 1 for row 1"):
        plot_top_influential_samples(ranking, titles=["only one"])


def test_pyplot_is_never_loaded_nor_torch():
    """Law: drawing leaves the user's backend alone and needs no torch."""
    code = (
        "import sys, rec_trak.results.plots as p; p.plot_score_distribution([1.0, 2.0], [0, 1], '/dev/null'); "
        "import rec_trak.comparison; assert not {'matplotlib.pyplot', 'torch'} & set(sys.modules), 'loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_detection_curves_draw_precision_as_average_precision_counts_it(tmp_path):
    """Law: each recall is reached with its own precision: the area under the steps is the average precision."""
    recall, precision = [0, 0.5, 1], [1, 0.8, 0.4]
    questions = [("all", [("a", recall, precision)], [("a", [0, 1], [0, 1])], 0.25)] * 2
    figure = plot_detection_curves(questions, tmp_path / "c.png")
    assert len(figure.axes) == 4
    x, y = figure.axes[0].lines[0].get_data()
    assert figure.axes[0].lines[0].get_drawstyle() == "steps-pre"
    assert np.sum(np.diff(x) * np.asarray(y)[1:]) == pytest.approx(0.5 * 0.8 + 0.5 * 0.4)
    assert figure.axes[0].lines[1].get_ydata()[0] == 0.25
    assert (tmp_path / "c.png").read_bytes().startswith(PNG)


def test_functions_return_the_figure():
    """Law: each function hands its Figure to the caller, who may change and save it."""
    assert isinstance(plot_score_distribution([1.0, 2.0], [0, 1]), Figure)


def test_small_classes_are_drawn_as_shares():
    """Law: with 20 rows in each class a panel's bars are percent of their class, else counts."""
    scores = np.random.default_rng(2).normal(size=120)
    panel = plot_score_distribution(scores, np.arange(120) % 5 == 0).axes[1]
    assert panel.get_ylabel() == "% of the rows of each class"
    one_bin = Figure().subplots()
    class_histogram(one_bin, scores, np.arange(120) % 5 == 0, np.array([-9, 9]), shares=True)
    assert [patch.get_xy()[:, 1].max() for patch in one_bin.patches] == pytest.approx([100, 100])
    assert plot_score_distribution(scores, np.arange(120) < 19).axes[1].get_ylabel() == "rows"


def test_both_runs_are_drawn_alike():
    """Law: clean and poisoned panels count rows, or both give shares, whatever classes each has."""
    scores = np.random.default_rng(3).normal(size=100)
    figure = plot_score_comparison(scores, np.zeros(100), scores, np.arange(100) % 2)
    assert [axes.get_ylabel() for axes in figure.axes[:2]] == ["% of the rows of each class"] * 2


def test_lists_count_their_classes():
    """Law: the title of a list says how many of its rows click what; opponents are named where there are any."""
    scores, labels = np.array([3.0, 1.0, -2.0, 0.5]), np.array([1, 0, 1, -1])
    figure = plot_top_influential_samples(rank_training_samples(scores, labels, 2))
    titles = titles_of(figure)
    assert titles[0] == "Highest scores: 2 rows (1 fake, 1 real)"
    assert titles[1] == "Lowest scores (below 0: opponents): 2 rows (1 fake, 1 unknown)"
    assert titles[2] == "Highest scores, fake article clicked"


def crossing_ticks(axes) -> list:
    """Pairs of names of ticks that touch."""
    boxes = [text.get_window_extent() for text in axes.get_xticklabels() if text.get_text()]
    return [(a.x1, b.x0) for a, b in pairwise(sorted(boxes, key=lambda box: box.x0)) if a.x1 + 1 > b.x0]


@pytest.mark.parametrize(
    "scores",
    [
        np.random.default_rng(0).standard_t(1, 400),
        np.random.default_rng(0).standard_t(0.4, 400) * 1e-5,
        np.exp(np.random.default_rng(0).normal(0, 4, 400)),
        np.exp(np.random.default_rng(0).normal(0, 0.3, 400)) ** 3,
        np.r_[np.zeros(300), np.geomspace(1e-9, 1, 100)],
        np.r_[-np.geomspace(1e-7, 1e3, 300), np.zeros(9), 0.5],
    ],
)
def test_names_of_ticks_stand_apart(scores):
    """Law: on an axis that is logarithmic on one side of 0 or both, no two names touch, and there are at least two."""
    panel = plot_score_distribution(scores, np.zeros(len(scores))).axes[0]
    panel.figure.draw_without_rendering()
    assert panel.get_xscale() != "linear"
    assert len([text for text in panel.get_xticklabels() if text.get_text()]) >= 2
    assert crossing_ticks(panel) == []


def test_ridges_have_ticks_that_stand_apart():
    """Law: the same of the ridges that were tried, 0 among them, and of a single one; no legend over a curve."""
    ridges = (0, 1e-3, 2e-3, 1e-2, 0.1, 0.3, 1, 3, 10)
    for tried in (ridges, (0.5,), (0,)):
        curve = [{"K": k, "lambda_rel": x, "lds": 0.3, "interval": [0.2, 0.4]} for k in (64, 512) for x in tried]
        own = {"K": 64, "lambda_rel": tried[0]}
        panel = draw(plot_ridge_search(curve, own, own)).axes[0]
        assert crossing_ticks(panel) == []
        assert not panel.figure.legends[0].get_window_extent().overlaps(panel.get_window_extent())


def test_no_legend_covers_a_curve_or_a_bar():
    """Law: legends stand beside the panels of curves, and above all bars of a histogram."""
    line = [("a ranking of a long name", [0, 0.5, 1], [1, 1, 1])]
    figure = draw(plot_detection_curves([("all", line, line, 0.25)] * 2))
    legends = [part.legends[0].get_window_extent() for part in figure.subfigs]
    assert not [1 for legend in legends for axes in figure.axes if legend.overlaps(axes.get_window_extent())]
    labels = np.arange(90) % 3 - 1
    for axes in draw(plot_score_distribution(np.arange(90.0), labels)).axes:
        top = max(axes.transData.transform((0, y))[1] for y in [patch.get_xy()[:, 1].max() if hasattr(
            patch.get_xy(), "shape") else patch.get_height() for patch in axes.patches])  # fmt: skip
        assert axes.get_legend().get_window_extent().y0 >= top - 1


def test_names_of_scores_are_never_mathematics():
    """Law: a target set called a$b$ is no formula."""
    figure = draw(plot_score_distribution([1.0, 2.0], [0, 1], score_name="mean influence on a$b_{$ (margin units)"))
    assert figure.axes[0].get_xlabel() == r"mean influence on a\$b_{\$ (margin units)"


def test_rows_that_carry_nothing_are_not_drawn():
    """Law: both panels are those of the other rows, and the title says so."""
    scores, labels = np.array([0.0, 1.0, 2.0, 4.0]), np.array([0, 0, 1, 1])
    figure = plot_score_distribution(scores, labels, nothing=np.array([True, False, False, False]))
    assert titles_of(figure)[0] == "The 3 rows that carry something"
    assert "mean 2.33" in " ".join(text.get_text() for text in figure.axes[0].get_legend().get_texts())
    assert "real: 1 row" in " ".join(text.get_text() for text in figure.axes[1].get_legend().get_texts())
    assert titles_of(plot_score_distribution(scores, labels))[0] == "All 4 rows"
