"""Whether articles are taken once each is decided by proof and by measured times, and changes no store."""

import dataclasses

import numpy as np
import pytest
import torch
from support import tiny
from support.spans import article_path, exact_sketches, span_sketches, worst

from rec_trak.attribution import articles, ways
from rec_trak.attribution.articles import Plan, plan_articles
from rec_trak.attribution.estimate import estimate
from rec_trak.attribution.session import featurize, featurize_targets
from rec_trak.attribution.ways import choose_way
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.data.targets import read_targets
from rec_trak.errors import ConfigError
from rec_trak.store.manifest import BLOCKS
from rec_trak.store.reading import read_member

CHEAP = articles._Times(row=1e-3, place=1e-3, article=2e-3, served=1e-6)


@pytest.fixture
def cheap(monkeypatch):
    """Jacobians that cost what two places cost, so that most articles of a tiny log are taken once."""
    monkeypatch.setattr(articles, "_measured", lambda tried: CHEAP)


@pytest.mark.parametrize("architecture", ["nrms", "naml", "lstur"])
def test_a_store_made_either_way_holds_the_same(tmp_path, architecture, cheap):
    """Sketches to 1e-5 of a row's norm, Q to its last digit, in spans of any size; targets too."""
    stores = []
    for gradient, memory in (("factored", 2.0), ("articles", 2.0), ("articles", 0.01)):
        save_dir = str(tmp_path / f"store_{gradient}_{memory}")
        job = tiny.make_job(tmp_path, architecture, gradient=gradient, memory=memory, save_dir=save_dir)
        done = featurize(job)
        assert done.gradient.name == gradient
        featurize_targets(job, "mixed", read_targets(tmp_path / "data/benchmarks/benchmark_mixed.csv", job.articles))
        phi, q = read_member(job.save_dir, 0)
        stores.append((torch.tensor(phi), q, torch.tensor(np.load(job.save_dir / "0" / "mixed_grads.mmap"))))
    (phi, q, targets), *others = stores
    for other in others:
        assert worst(other[0], phi) < 1e-5
        np.testing.assert_allclose(other[1], q, rtol=0, atol=3e-7)
        assert worst(other[2], targets) < 1e-5


def test_a_plan_says_what_it_expects(tmp_path, cheap):
    """Places, articles, the share that is taken once, and the times by either path; a dry run prints it."""
    job = tiny.make_job(tmp_path, gradient="articles")
    load_into(job.model, job.members[0].state_dict(), "test")
    plan = plan_articles(job, job.inputs, job.loss)
    rows = job.inputs.impressions
    assert plan.places == rows.history.offsets[-1] + rows.candidates.offsets[-1]
    assert (plan.least, plan.rows) == (3, len(rows))
    assert 0.9 < plan.share <= 1
    assert plan.pair_seconds == pytest.approx(CHEAP.row * len(rows) + CHEAP.place * plan.places)
    assert plan.article_seconds < plan.pair_seconds
    told = estimate(job).articles
    assert told.startswith(f"{plan.places} places of 12 articles; an article with 3 places or more in 24 rows")
    assert "s place by place" in told


def test_memory_cuts_spans(tmp_path, cheap, monkeypatch):
    """A span holds a cotangent for each place; half the memory is half the rows."""
    monkeypatch.setattr(articles, "LOST", 1e9)
    job = tiny.make_job(tmp_path, gradient="articles")
    load_into(job.model, job.members[0].state_dict(), "test")
    rows = [plan_articles(dataclasses.replace(job, memory=m), job.inputs, job.loss).rows for m in (1.0, 1e-5, 5e-6)]
    assert rows[0] == 24
    assert rows[0] > rows[1] > rows[2] >= 1


def test_a_small_log_is_not_measured(tmp_path, monkeypatch):
    """`auto` takes a log in which little recurs as before, and says so."""
    monkeypatch.setattr(articles, "_measured", None)
    way = choose_way(job := tiny.make_job(tmp_path), job.inputs, job.loss)
    assert way.choice.name == "factored"
    assert "places of 12 articles recur too little" in way.untaken


def test_a_large_log_without_recurrence_is_not_measured(tmp_path, monkeypatch):
    """Where hardly an article has a dozen places nothing is tried, however many there are."""
    monkeypatch.setattr(articles, "LEAST_PLACES", 0)
    monkeypatch.setattr(articles, "OFTEN", 1000)
    monkeypatch.setattr(articles, "_measured", None)
    job = tiny.make_job(tmp_path)
    assert "recur too little" in choose_way(job, job.inputs, job.loss).untaken


def test_auto_takes_what_is_faster(tmp_path, monkeypatch):
    """Where Jacobians are dear the pairs are taken; where they are cheap the articles."""
    monkeypatch.setattr(articles, "LEAST_PLACES", 0)
    job = tiny.make_job(tmp_path)
    for article, name in ((2e-3, "articles"), (9.0, "factored")):
        times = dataclasses.replace(CHEAP, article=article)
        monkeypatch.setattr(articles, "_measured", lambda tried, times=times: times)
        way = choose_way(job, job.inputs, job.loss)
        assert way.choice.name == name
    assert "it would not be faster" in way.untaken


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"projector": "gaussian"}, "`projector` gaussian needs whole gradients"),
        ({"precision": "bf16"}, "`precision` bf16 is the factored path's"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, keys, why):
    """`articles` asked for where it cannot be; `auto` goes on without."""
    with pytest.raises(ConfigError, match=f"`articles` does not work here: {why}.*Use `auto`"):
        featurize(tiny.make_job(tmp_path, gradient="articles", **keys))
    assert featurize(tiny.make_job(tmp_path, **keys)).gradient.name == "factored"


def test_articles_that_see_each_other_do_not_pass(tmp_path, monkeypatch, cheap):
    """The preflight of the article path compares with plain autograd of the row alone."""
    job = tiny.make_job(tmp_path, gradient="articles")
    load_into(job.model, job.members[0].state_dict(), "test")
    encode = job.model.encode

    def mixing(views):
        vectors = encode(views)
        return vectors + vectors.mean(dim=0, keepdim=True)

    monkeypatch.setattr(job.model, "encode", mixing)
    assert "articles beside it" in plan_articles(job, job.inputs, job.loss)


def test_times_are_measured_and_positive(tmp_path):
    """What a plan rests on: a row, a place, an article and a place that it serves."""
    job = tiny.make_job(tmp_path, gradient="articles")
    load_into(job.model, job.members[0].state_dict(), "test")
    plan = plan_articles(job, job.inputs, job.loss)
    assert isinstance(plan, Plan)
    assert min(plan.pair_seconds, plan.article_seconds) > 0
    assert plan.least >= 2


def test_an_interrupted_run_goes_on_the_other_way(tmp_path, cheap, monkeypatch):
    """Blocks that batches finished stay; spans take the rest of the rows only."""
    whole = tiny.make_job(tmp_path, save_dir=str(tmp_path / "whole"), gradient="factored")
    featurize(whole)
    job, real, made = tiny.make_job(tmp_path, batch_size=5, gradient="factored"), ways.make_batch, []

    def stops(*arguments):
        made.append(1)
        return real(*arguments) if len(made) < 3 else None

    with monkeypatch.context() as patch:
        patch.setitem(BLOCKS, "rows", 5)
        patch.setattr(ways, "make_batch", stops)
        with pytest.raises(AttributeError):
            featurize(job)
    done = featurize(tiny.make_job(tmp_path, gradient="articles"))
    assert (done.computed, done.gradient.name) == (len(job.inputs) - 10, "articles")
    expected = torch.tensor(read_member(whole.save_dir, 0)[0])
    assert worst(torch.tensor(read_member(job.save_dir, 0)[0]), expected) < 1e-5


@pytest.mark.parametrize("names", [None, ["title_*", "word_embedding.lm.encoder.layer.1*"]])
def test_language_models_whole_and_in_part(tmp_path, names):
    """A tiny random transformer under NRMS, fine-tuned in all layers or in its last one."""
    tiny_lm = pytest.importorskip("support.tiny_lm")
    from rec_trak.gradients.computers import select_parameters

    model, inputs = tiny_lm.make_model(tiny_lm.write_language_model(tmp_path)), tiny_lm.make_inputs(16)
    for precision, bound in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        model = model.to(precision)
        computer, projector = article_path(model, inputs, names=select_parameters(model, names))
        assert computer.structure is None
        found, _ = span_sketches(computer, projector, inputs)
        assert worst(found, exact_sketches(computer, projector, inputs)[0]) < bound
