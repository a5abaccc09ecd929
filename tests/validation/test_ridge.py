"""The search for ridge and K: folded sketches, the same scores as the run's own code, halves apart, refusals."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import validated
from support.small_ridges import closed_form, steep

from rec_trak.errors import ConfigError
from rec_trak.results.plots import plot_ridge_search
from rec_trak.sketch.projection import SketchProjector
from rec_trak.validation import ridge
from rec_trak.validation.estimates import RUN, group_scores
from rec_trak.validation.ridge import fold, predictions, ridge_search


@pytest.fixture(scope="module")
def case(scored, tmp_path_factory):
    """A scored target set of a tiny run of two members."""
    folder = tmp_path_factory.mktemp("ridge")
    return validated.case_of(folder, *validated.copy_run(scored, folder))


def test_a_folded_sketch_is_a_sketch():
    """Law: with one half of the buckets added to the other, inner products stay right on average, and no further off
    than those of a sketch that was made with half of K."""
    random = np.random.default_rng(0)
    a, b = (torch.from_numpy(random.standard_normal((1, 20, 30))) for _ in range(2))
    b = b + a
    exact = float((a * b).sum())

    def errors(dim, parts):
        found = []
        for seed in range(300):
            projector = SketchProjector(600, dim, seed)
            x, y = (fold(projector.project({"w": part}, 0).numpy(), parts) for part in (a, b))
            found.append(float((x * y).sum()) - exact)
        return np.array(found)

    folded, made = errors(64, 2), errors(32, 1)
    assert abs(folded.mean()) < 4 * folded.std() / len(folded) ** 0.5
    assert folded.std() < 1.2 * made.std()


def test_settings_predict_what_the_runs_code_predicts(case, monkeypatch):
    """Law: at the whole K every ridge gives `group_scores`' sums; at K / 2 those of the folded gradients."""
    monkeypatch.setattr(ridge, "SMALLEST", 4)
    groups = (np.random.default_rng(0).random((5, 24)) < 0.5).astype(float)
    found = predictions(case, groups)
    assert {k for k, _ in found} == {16, 8, 4}
    assert len(found) == 3 * len(ridge.GRID)
    for k, lambda_rel in ((16, 0.1), (16, 1.0), (8, 0.3)):
        parts = 16 // k
        expected = group_scores(
            2,
            lambda m, parts=parts: (fold(case.member(m)[0], parts), case.member(m)[1]),
            lambda m, parts=parts: fold(case.member_targets(m), parts),
            groups,
            lambda_rel,
        )[RUN]
        np.testing.assert_allclose(found[k, lambda_rel], expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore:.*is small for N")
@pytest.mark.parametrize("rows", [200, 20], ids=["N > 2K", "N < K"])
def test_a_small_ridge_is_the_closed_form_too(rows):
    """Law: of gradients that single precision cannot tell apart, every ridge and every K."""
    phi, aims, q = steep(rows, 32), steep(5, 32, seed=1), np.linspace(0.1, 1, rows)
    groups = (np.random.default_rng(0).random((6, rows)) < 0.5).astype(float)
    job = SimpleNamespace(members=[0], proj_dim=32, lambda_rel=1e-6)
    found = predictions(SimpleNamespace(job=job, member=lambda m: (phi, q), member_targets=lambda m: aims), groups)
    assert (32, 1e-6) in found
    for (k, lambda_rel), sums in found.items():
        own, tops = (fold(part.astype(np.float64), 32 // k) for part in (phi, aims))
        scores = q[:, None] * closed_form(own, lambda_rel, tops)
        most = np.abs(scores).max(axis=0)
        np.testing.assert_allclose(sums / most, groups @ scores / most, atol=1e-4)


def test_the_search_chooses_on_one_half_and_judges_on_the_other(case, monkeypatch):
    """Law: what the other half of subsets or targets says never moves the choice, and the curve has every setting."""
    found = ridge_search(case, 20, draws=20)
    assert len(found["curve"]) == len(ridge.GRID)
    assert {line["K"] for line in found["curve"]} == {16}
    best = max(found["curve"], key=lambda line: line["lds"])
    assert found["chosen"] == {key: best[key] for key in ("K", "lambda_rel")}
    assert found["run"] == {"K": 16, "lambda_rel": 1.0}
    assert found["diverged"] == []
    whole = ridge.retrain_all

    def muddled(*args):
        outcomes = whole(*args)
        for i, outcome in enumerate(outcomes):
            outcome.margins[slice(None) if i >= 10 else slice(1, None, 2)] = np.random.default_rng(i).random()
        return outcomes

    monkeypatch.setattr(ridge, "retrain_all", muddled)
    other = ridge_search(case, 20, draws=20)
    assert [line["lds"] for line in other["curve"]] == [line["lds"] for line in found["curve"]]
    assert other["judged"] != found["judged"]


def test_the_figure_has_a_line_a_size_and_marks_two_settings(tmp_path):
    """Law: every setting of the curve is a point of its K's line; the best and the run's own are marked and named."""
    curve = [
        {"K": k, "lambda_rel": ridge, "lds": 0.1 * ridge + k / 100, "interval": [0.0, 2.0]}
        for k in (16, 8)
        for ridge in (0.0, 0.1, 1.0)
    ]
    settings = {"K": 16, "lambda_rel": 1.0}, {"K": 8, "lambda_rel": 0.0}
    figure = plot_ridge_search(curve, *settings, save_path=tmp_path / "ridge.png")
    (axes,) = figure.axes
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["best here: K = 16, lambda_rel 1", "the run's: K = 8, lambda_rel 0", "K = 8", "K = 16"]
    assert [len(lines[0].get_ydata()) for lines in axes.containers] == [3, 3]
    assert (tmp_path / "ridge.png").stat().st_size > 0


def test_too_few_for_two_halves(case):
    """Law: each half needs what a rank correlation needs."""
    with pytest.raises(ConfigError, match=r"--what ridge: no two halves\. Got 19 subsets and \d+ target"):
        ridge_search(case, 19)
