"""Which way a job's gradients are computed, and the batches that this way takes. Not here: trials, times, stores."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from trak.gradient_computers import AbstractGradientComputer

from rec_trak.attribution.articles import Plan, plan_articles
from rec_trak.attribution.job import Job
from rec_trak.checkpoints.state_dicts import load_into
from rec_trak.data.inputs import Inputs
from rec_trak.data.spans import make_span
from rec_trak.errors import ConfigError
from rec_trak.gradients.articles import ArticleComputer
from rec_trak.gradients.computers import computer_class, make_batch
from rec_trak.gradients.preflight import GradientChoice, choose_gradient
from rec_trak.store.manifest import BLOCKS
from rec_trak.workers import agreed, workers


@dataclass(frozen=True)
class Way:
    """A gradient path, with a plan where it takes articles once each.

    Attributes:
        choice: the path, and why.
        plan: how spans are taken; None where rows go in batches.
        untaken: why articles are not taken once each; None where they are.
    """

    choice: GradientChoice
    plan: Plan | None
    untaken: str | None

    def computer(self, precision: str) -> type[AbstractGradientComputer] | functools.partial:
        """What makes the path's gradient computer.

        Raises:
            ConfigError: bf16 on another path than the factored one.
        """
        if self.plan is None:
            return computer_class(self.choice.name, precision)
        return functools.partial(ArticleComputer, structure=self.plan.structure, apart=self.plan.apart)

    def batches(self, rows: np.ndarray, inputs: Inputs, batch_size: int) -> Iterator[np.ndarray]:
        """The rows in spans, or in batches of like history length, so that little is padded; stored by row."""
        if self.plan is not None:
            for start in range(0, len(rows), self.plan.rows):
                yield rows[start : start + self.plan.rows]
            return
        order = rows[np.argsort(inputs.impressions.history.lengths[rows], kind="stable")]
        for start in range(0, len(order), batch_size):
            yield order[start : start + batch_size]

    def batch(self, job: Job, inputs: Inputs, rows: np.ndarray) -> Any:
        """Some rows as the path's computer takes them."""
        if self.plan is None:
            return make_batch(self.choice.name, job.model, inputs, rows, job.device)
        return make_span(inputs, rows, self.plan.least, job.batch_size, job.device, alike=self.plan.alike)

    def blocks(self, job: Job) -> dict[str, int]:
        """How a new save directory is cut: a span is computed at once, so that it is a block, but for many workers the
        rows are shared out; `least` is kept, since another one gives the last digits of other sums."""
        if self.plan is None:
            return BLOCKS
        each = -(-len(job.inputs) * len(job.members) // workers().size)
        rows = min(self.plan.rows, max(each, 1)) // BLOCKS["rows"] * BLOCKS["rows"]
        return BLOCKS | {"rows": max(rows, BLOCKS["rows"]), "least": self.plan.least}

    def as_begun(self, blocks: dict[str, int]) -> Way:
        """The way that goes on with a directory which was begun with these blocks."""
        if self.plan is None or "least" not in blocks:
            return self
        return replace(self, plan=replace(self.plan, least=blocks["least"]))


def agreed_way(job: Job, inputs: Inputs, loss: str) -> Way:
    """`choose_way` of the first worker, whose measurements decide for all; the others try that path themselves."""
    own: list[Way] = []

    def chosen() -> dict[str, Any]:
        own.append(choose_way(job, inputs, loss))
        plan = own[0].plan
        return {"name": own[0].choice.name, "plan": plan and {"least": plan.least, "rows": plan.rows}}

    told = agreed(chosen)
    if own:
        return own[0]
    way = choose_way(replace(job, gradient=told["name"]), inputs, loss)
    return way if way.plan is None else replace(way, plan=replace(way.plan, **told["plan"]))


def choose(job: Job, inputs: Inputs, loss: str) -> GradientChoice:
    """The path for these inputs, row by row, tried with the first checkpoint's weights."""
    load_into(job.model, job.members[0].state_dict(), job.members[0].name)
    wanted = "factored" if job.gradient == "articles" else job.gradient
    return choose_gradient(wanted, job.model, loss, inputs, job.grad_wrt, job.batch_size, job.device)


def choose_way(job: Job, inputs: Inputs, loss: str) -> Way:
    """The way to take these inputs, tried and measured with the first checkpoint's weights.

    Raises:
        ConfigError, NumericalError: as `choose_gradient`; or `gradient: articles` was asked for and cannot be.
    """
    choice = choose(job, inputs, loss)
    if job.gradient not in ("auto", "articles") or choice.name != "factored":
        return Way(choice, None, f"`gradient` is {choice.name}")
    plan = plan_articles(job, inputs, loss)
    if isinstance(plan, Plan):
        return Way(GradientChoice("articles", choice.reason), plan, None)
    if job.gradient == "articles":
        raise ConfigError(
            f"`gradient`: `articles` does not work here: {plan}. Got `articles`, expected a model and settings whose "
            "articles can be differentiated once each. Use `auto`."
        )
    return Way(choice, None, plan)
