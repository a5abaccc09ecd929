"""Whether a run's articles are differentiated once each, decided by proof on real rows and by measured times.

Not here: the two paths themselves. What is decided changes no number beyond rounding: an article that stands at few
places goes with its rows, one that stands at many is taken by itself.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from rec_trak.attribution.job import Job
from rec_trak.attribution.trials import disproof, sharing
from rec_trak.clicks import ClickOutput
from rec_trak.data.batches import article_views, moved
from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import distinct
from rec_trak.data.spans import Span, make_span
from rec_trak.errors import told
from rec_trak.gradients.articles import ArticleComputer, SpanGradients, like_length
from rec_trak.gradients.colouring import Structure
from rec_trak.gradients.computers import FactoredComputer, is_method, make_batch
from rec_trak.gradients.preflight import unlike_rows
from rec_trak.gradients.steadiness import remembers
from rec_trak.gradients.structures import find_structure
from rec_trak.gradients.threads import one_thread
from rec_trak.sketch.projectors import make_projector
from rec_trak.sketch.spans import TOGETHER, SpanProjector

LEAST_PLACES = 60_000  # of a log for which times are measured: a smaller one is done before it would pay
OFTEN, LEAST_SHARE = 12, 0.2  # places that no Jacobian is cheaper than, and the least share of places at such articles
TRIED_ARTICLES = 8  # that a structure is read off
TRIED_DIRECTIONS = 32, 96  # where each is taken by itself, for the measurement
TIMES = 3
SERVED = 256  # places that one Jacobian serves, for the measurement
LOST = 1800.0  # seconds of work that an interruption may lose: a span is stored whole or not at all
GAIN = 0.95  # of the pair path's time: what the article path has to promise


@dataclass(frozen=True)
class Plan:
    """How spans are taken.

    Attributes:
        structure: of the articles' Jacobians.
        how: the same in words.
        least: places in a span from which on an article is differentiated once.
        rows: of a span.
        places, articles: of all rows, and how many different articles stand there.
        share: of the places, those whose article is differentiated once.
        pair_seconds, article_seconds: expected for one checkpoint by either path.
        memory: bytes of a span.
        alike: see `Span`.
        apart: whether no two passes of the model may run at once.
    """

    structure: Structure | None
    how: str
    least: int
    rows: int
    places: int
    articles: int
    share: float
    pair_seconds: float
    article_seconds: float
    memory: int
    alike: int | None = None
    apart: bool = False

    def __str__(self) -> str:
        return (
            f"{self.places:,} places of {self.articles:,} articles; an article with {self.least:,} places or more in "
            f"{self.rows:,} rows is differentiated once ({self.how}), {self.share:.0%} of the places; expected "
            f"{self.article_seconds:,.0f} s a checkpoint, {self.pair_seconds:,.0f} s place by place"
        )


@dataclass(frozen=True)
class _Times:
    """Seconds: a row without its articles, a place encoded with its row, an article's vector and Jacobian, a place it
    serves.

    Where there is no structure, `article` is what an article costs before the first direction, and each of up to
    `width` of them `direction`. They are the processor's, so that other work on the machine does not decide; `pace` of
    a clock's go to one of them.
    """

    row: float
    place: float
    article: float
    served: float
    pace: float = 1.0
    direction: float = 0.0
    width: int = 0

    def taken_once(self, places: np.ndarray) -> np.ndarray:
        """Seconds of articles with so many places that are differentiated once."""
        return self.article + self.direction * np.minimum(places, self.width) + self.served * places

    def least(self) -> int:
        """Places from which on that is cheaper than each place with its row: in its own directions or in all."""
        own = self.article / max(self.place - self.served - self.direction, 1e-9)
        all_of_them = (self.article + self.direction * self.width) / max(self.place - self.served, 1e-9)
        return max(2, math.ceil(own if own < self.width else all_of_them))


@dataclass(frozen=True)
class _Tried:
    """What is tried: both computers and the projector of a job, over the rows of some inputs."""

    job: Job
    inputs: Inputs
    articles: ArticleComputer
    pairs: FactoredComputer
    projector: SpanProjector

    def span(self, rows: np.ndarray, least: float, most: int | None = None) -> Span:
        """Some of the rows as a span."""
        return make_span(self.inputs, rows, least, self.job.batch_size, self.job.device, most)


def plan_articles(job: Job, inputs: Inputs, loss: str) -> Plan | str:
    """How to take the rows article by article, or why not; the job's model holds a checkpoint's weights."""
    trouble = _unfit(job)
    if trouble:
        return trouble
    counts = _places(inputs)
    asked, places = job.gradient == "articles", int(counts.sum())
    if not asked and (places < LEAST_PLACES or counts[counts >= OFTEN].sum() < LEAST_SHARE * places):
        return f"{places:,} places of {len(counts):,} articles recur too little"
    tried = _tried(job, inputs, loss)
    views = moved(article_views(inputs, _some(inputs, TRIED_ARTICLES)), job.device)
    structure, how = find_structure(job.model, views, tried.articles.parameters)
    tried.articles.structure = structure
    try:
        few = make_batch("factored", job.model, inputs, unlike_rows(inputs), job.device)
        tried.articles.apart = remembers(job.model, lambda: tried.pairs.compute_per_sample_grad(few))
        times = _measured(tried)
        plan = _planned(tried, times, how)
        if not asked and plan.article_seconds > GAIN * plan.pair_seconds:
            return f"it would not be faster: {plan}"
        given = (tried.articles, tried.projector, inputs, job.batch_size)
        return disproof(*given) or replace(plan, alike=sharing(*given), apart=tried.articles.apart)
    except Exception as error:  # whatever a user's model does when articles stand alone
        return told(error)


def _unfit(job: Job) -> str | None:
    if job.projector != "sketch":
        return f"`projector` {job.projector} needs whole gradients"
    if job.precision != "float32":
        return f"`precision` {job.precision} is the factored path's"
    if not all(is_method(job.model, name) for name in ("encode", "score")):
        return "the model has no `encode` and `score`"
    return None


def _tried(job: Job, inputs: Inputs, loss: str) -> _Tried:
    given = (job.model, ClickOutput(loss), job.parameter_count, torch.float32, job.device)
    articles, pairs = (kind(*given, grad_wrt=job.grad_wrt) for kind in (ArticleComputer, FactoredComputer))
    projector = make_projector("sketch", job.parameter_count, job.proj_dim, job.seed, job.device)
    return _Tried(job, inputs, articles, pairs, projector)


def _places(inputs: Inputs, rows: int | None = None) -> np.ndarray:
    """At how many places of the rows, or of the first so many, each of their articles stands."""
    tables = (inputs.impressions.history, inputs.impressions.candidates)
    values = [table.values[: table.offsets[-1 if rows is None else rows]] for table in tables]
    width = 1 + max(int(own.max(initial=0)) for own in values)
    counts = sum(np.bincount(own, minlength=width) for own in values)
    return counts[counts > 0]


def _some(inputs: Inputs, count: int) -> np.ndarray:
    """Up to so many different articles of the rows."""
    articles = distinct(inputs.impressions.candidates.values)
    return articles[np.linspace(0, len(articles) - 1, min(count, len(articles))).astype(int)]


def _planned(tried: _Tried, times: _Times, how: str) -> Plan:
    """The plan that the times call for."""
    job, count = tried.job, len(tried.inputs)
    counts = _places(tried.inputs)
    places, articles = int(counts.sum()), len(counts)
    least = times.least()
    width = _width(tried)
    per_place = 4 * width * (1 + 1 / least) + 112  # cotangent, a share of the article's vector, and indexes
    per_row = per_place * places / count + 12 * job.proj_dim
    pair_row = times.row + times.place * places / count
    most = max(1, min(int(job.memory * 1e9 / per_row), int(LOST / (times.pace * pair_row)), count))
    rows = math.ceil(count / math.ceil(count / most))
    own, spans = _places(tried.inputs, rows), count / rows
    often = own[own >= least]
    share = float(often.sum() / own.sum())
    by_articles = count * times.row + places * (1 - share) * times.place
    by_articles += spans * float(times.taken_once(often).sum())
    return Plan(
        tried.articles.structure,
        how,
        least,
        rows,
        places,
        articles,
        share,
        times.pace * count * pair_row,
        times.pace * by_articles,
        int(rows * per_row),
    )


def _width(tried: _Tried) -> int:
    return tried.articles.vectors(tried.span(np.array([0]), 1)).shape[-1]


def _measured(tried: _Tried) -> _Times:
    """Times on rows of about the mean length, since what they take grows with it, and articles of middling length."""
    job, inputs = tried.job, tried.inputs
    lengths = inputs.impressions.history.lengths
    order = np.argsort(lengths, kind="stable")
    mean = int(np.searchsorted(lengths[order], lengths.mean()))
    middle = order[max(0, min(mean, len(order) - 2 * job.batch_size) - 2 * job.batch_size) :][: 4 * job.batch_size]
    few = middle[: job.batch_size]
    span = tried.span(middle, 1)

    def pairs() -> None:
        batch = make_batch("factored", job.model, inputs, few, job.device)
        tried.projector.project(tried.pairs.compute_per_sample_grad(batch), 0)

    gradients = tried.articles.compute_per_sample_grad(span)

    def rows() -> None:
        for _, factors in gradients.rows():
            tried.projector.project(factors, 0)

    clocks: list[tuple[float, float]] = []
    # The articles' vectors are made with the rows, but are an article's cost: of a few rows they would be most of it.
    vectors = _seconds(lambda: tried.articles.vectors(span), clocks, job.device)
    row = max(0.0, _seconds(rows, clocks, job.device) - vectors) / len(middle)
    places = len(tried.span(few, 1).article) / len(few)
    pair = _seconds(pairs, clocks, job.device) / len(few)
    article, direction, width, example = _of_articles(tried, gradients)
    article += vectors / len(span.often)
    cotangents = torch.zeros(SERVED, len(example), dtype=example.dtype, device=job.device)
    served = _seconds(lambda: cotangents @ example, clocks, job.device) / SERVED
    pace = sum(clock for _, clock in clocks) / max(sum(processor for processor, _ in clocks), 1e-9)
    return _Times(row, max(0.0, pair - row) / places, article, served, pace, direction, width)


def _of_articles(tried: _Tried, gradients: SpanGradients) -> tuple[float, float, int, Tensor]:
    """Seconds of an article of middling length, of a direction, and D, as `_Times` has them; and a sketched Jacobian
    (D, K), or some directions of it."""
    alone, width = tried.articles.structure is None, gradients.table.shape[-1]
    chunks = list(like_length(gradients.span, 1 if alone else TOGETHER))
    at, views = chunks[len(chunks) // 2]

    def taken(directions: int | None) -> Tensor:
        along = None
        if directions is not None:
            along = torch.eye(width, dtype=gradients.table.dtype, device=gradients.table.device)
            along = along.repeat(-(-directions // width), 1)[:directions, None]
        return tried.projector.jacobians(gradients, at, views, along)[0]

    with one_thread():  # as they are taken
        example = taken(None if not alone else min(width, TRIED_DIRECTIONS[1]))
        if not alone:
            return _seconds(lambda: taken(None), [], tried.job.device) / len(at), 0.0, 0, example
        few, many = (_seconds(partial(taken, n), [], tried.job.device) for n in TRIED_DIRECTIONS)
    direction = max(0.0, many - few) / (TRIED_DIRECTIONS[1] - TRIED_DIRECTIONS[0])
    return max(0.0, few - TRIED_DIRECTIONS[0] * direction), direction, width, example


def _seconds(work: Callable[[], object], clocks: list[tuple[float, float]], device: str) -> float:
    """The shortest of a few times that it takes, after one that pays for what is paid once.

    Args:
        clocks: gets the processor's and the clock's seconds of all.
        device: on a GPU the clock's seconds count.
    """
    work()
    times = []
    for _ in range(TIMES):
        begin, started = time.perf_counter(), time.process_time()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        passed = time.perf_counter() - begin
        times.append((passed if device.startswith("cuda") else time.process_time() - started, passed))
    clocks += times
    return min(processor for processor, _ in times)
