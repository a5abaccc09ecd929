"""The preflight takes the cheapest path whose gradients are those of the row alone, says why, and warns of mates."""

import dataclasses
import re
import warnings

import numpy as np
import pytest
import torch
from support.recommenders import MODELS, in_full, relative_error, topic_world, world
from torch import nn

from rec_trak.clicks import ClickOutput
from rec_trak.data.batches import pair_batch
from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError, NumericalError, RecTrakWarning
from rec_trak.gradients.computers import COMPUTERS, make_batch, select_parameters
from rec_trak.gradients.preflight import choose_gradient


def choose(model, inputs, wanted="auto", names=None):
    names = names or select_parameters(model, None)
    return choose_gradient(wanted, model, "softmax", inputs, names, batch_size=8, device="cpu")


class Small(nn.Module):
    """Titles as means of word vectors through one layer, users as means of titles; a subclass changes one step."""

    def __init__(self):
        super().__init__()
        self.words, self.layer = nn.Embedding(40, 6), nn.Linear(6, 5)

    def forward(self, batch):
        ids = batch.articles["title"]
        real = (ids != 0).unsqueeze(-1)
        vectors = self.read((self.words(ids) * real).sum(1) / real.sum(1).clamp(min=1))
        user = self.user(nn.functional.embedding(batch.history, vectors), batch.history_mask)
        return self.score(nn.functional.embedding(batch.candidates, vectors), user)

    def read(self, means):
        return torch.tanh(self.layer(means))

    def user(self, vectors, mask):
        return (vectors * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)

    def score(self, candidates, user):
        return (candidates @ user.unsqueeze(-1)).squeeze(-1)


class Normed(Small):
    """Batch norm by the batch's own mean, in eval mode too."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(5)

    def read(self, means):
        return self.norm.train()(super().read(means))


class Mingled(Small):
    """Users attend to the other users of the batch."""

    def user(self, vectors, mask):
        users = super().user(vectors, mask)
        return users + torch.softmax(users @ users.T, dim=1) @ users


class Unmasked(Small):
    """Padding counts as read."""

    def user(self, vectors, mask):
        return super().user(vectors, torch.ones_like(mask))


class EqualLengths(Small):
    """Refuses padding."""

    def user(self, vectors, mask):
        if not mask.all():
            raise ValueError("histories\nof unequal length")
        return super().user(vectors, mask)


class Squeezing(Small):
    """Loses its first dimension with a single row."""

    def score(self, candidates, user):
        return super().score(candidates, user).squeeze()


class UnknownLayer(Small):
    """A layer that the recorder does not know."""

    def __init__(self):
        super().__init__()
        self.bend = nn.PReLU()

    def read(self, means):
        return self.bend(super().read(means))


class InPlace(Small):
    """Changes what its layer gave."""

    def read(self, means):
        return self.layer(means).mul_(2)


class Looping(UnknownLayer):
    """Asks for values, which vmap does not give."""

    def user(self, vectors, mask):
        lengths = mask.sum(1).tolist()
        return torch.stack([row[:length].mean(0) for row, length in zip(vectors, lengths, strict=True)])


class Noisy(Small):
    """A dropout that eval mode does not reach."""

    def read(self, means):
        return nn.functional.dropout(super().read(means), 0.5, training=True)


CASES = {  # the path, what its reason says, how many warnings: batch-mates, and batch norm that goes on counting
    Small: ("factored", "^agrees with plain autograd on rows of unlike lengths$", 0),
    Normed: ("loop", "not factored: cannot take this model apart: .*`norm.*batch_norm.*; not functional: ", 2),
    Mingled: ("functional", r"not factored: row \d+ differs from plain autograd by \d", 1),
    Unmasked: ("loop", r"not factored: row \d+ differs.*; not functional: row \d+ differs", 1),
    EqualLengths: (
        "loop",
        "not factored: ValueError: histories of unequal length; not functional: RuntimeError",
        0,
    ),
    Squeezing: (
        "loop",
        r"each row given as two copies, since one alone fails \(IndexError: .*; not factored: IndexError: .* "
        r"\(in a batch of one row\); not functional: IndexError",
        0,
    ),
    UnknownLayer: ("functional", "not factored: cannot take this model apart: `bend.weight` in prelu(?!.*Use)", 0),
    InPlace: ("functional", "not factored: .*`layer.bias`, whose output is changed in place", 0),
    Looping: ("loop", "not factored: .*prelu.*; not functional: RuntimeError: ", 0),
}


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_the_path_taken_gives_the_gradient_of_the_row_alone(tmp_path, kind):
    """Whatever a model does: the expected path, its reason, a warning where mates matter; gradients and Q of every row
    in batches equal those of plain autograd of that row's own articles to 1e-5."""
    _, inputs = world(tmp_path, "nrms")
    model = kind().eval()
    path, reason, warns = CASES[kind]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        choice = choose(model, inputs)
    assert choice.name == path
    assert re.search(reason, choice.reason)
    assert [w.category for w in caught] == [RecTrakWarning] * warns
    parameters = dict(model.named_parameters())
    computer = COMPUTERS[path](model, ClickOutput("softmax"), 0, torch.float32, "cpu", grad_wrt=list(parameters))
    for start in range(0, len(inputs), 7):
        rows = np.arange(start, min(start + 7, len(inputs)))
        batch = make_batch(path, model, inputs, rows, "cpu")
        grads, q = in_full(computer.compute_per_sample_grad(batch)), computer.compute_loss_grad(batch)
        for i, row in enumerate(rows):
            alone = pair_batch(inputs, [row, row] if kind is Squeezing else [row])[0]
            scores = model(alone)[0]
            f = scores[0] - torch.logsumexp(scores[1:], 0)
            expected = dict(zip(parameters, torch.autograd.grad(f, list(parameters.values())), strict=True))
            assert relative_error({n: g[i] for n, g in grads.items()}, expected) < 1e-5
            torch.testing.assert_close(q[i, 0], torch.sigmoid(-f), rtol=1e-5, atol=1e-7)


def test_the_warning_gives_the_size_of_the_change(tmp_path):
    """The number is |g in the batch - g alone| / |g alone| of the row it names."""
    _, inputs = world(tmp_path, "nrms")
    model = Mingled().eval()
    with pytest.warns(RecTrakWarning, match="Got a change by .* among 8, expected none") as caught:
        choose(model, inputs)
    words = str(caught[0].message).split()
    size, row = float(words[words.index("by") + 1]), int(words[words.index("row", words.index("for")) + 1])
    lengths = inputs.impressions.history.lengths
    ends = np.argsort(lengths, kind="stable")[[0, len(lengths) // 2, -1]]
    crowd = [*sorted(ends)[:: len(ends) - 1], *range(6)]
    batch = pair_batch(inputs, crowd)[0]
    f = ClickOutput("softmax").get_output(model, None, None, *batch)[crowd.index(row)]
    scores = model(pair_batch(inputs, [row])[0])[0]
    alone = scores[0] - torch.logsumexp(scores[1:], 0)
    names, parameters = zip(*model.named_parameters(), strict=True)
    inside, expected = (dict(zip(names, torch.autograd.grad(x, parameters), strict=True)) for x in (f, alone))
    assert relative_error(inside, expected) == pytest.approx(size, rel=0.05)


@pytest.mark.parametrize("wanted", ["auto", "functional", "loop"])
def test_a_model_that_is_random_is_refused(tmp_path, wanted):
    """No path can give the gradient where there is not one; nothing is said of batch-mates."""
    _, inputs = world(tmp_path, "nrms")
    message = r"differs from one pass to the next. Got row \d+ \(.*\) by .*dropout"
    with warnings.catch_warnings(record=True) as caught, pytest.raises(NumericalError, match=message):
        choose(Noisy().eval(), inputs, wanted)
    assert not caught


def test_a_model_that_fails_on_every_row_is_refused_in_one_line(tmp_path):
    """Its own error is shown, with the row, and not the one of the second try."""
    _, inputs = world(tmp_path, "nrms")

    class Failing(Small):
        def read(self, means):
            raise KeyError(f"no vectors\nfor {len(means)} articles")

    with pytest.raises(ConfigError, match=r"the model fails on row 3 \(.*\). Got KeyError: 'no vectors") as error:
        choose(Failing().eval(), inputs)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wanted", ["functional", "loop"])
def test_a_path_asked_for_is_warned_of_too(tmp_path, wanted):
    """Batch-mates are looked at whichever path is asked for."""
    _, inputs = world(tmp_path, "nrms")
    with pytest.warns(RecTrakWarning, match="batch-mates, or the padding they bring, change a row's gradient"):
        assert choose(Mingled().eval(), inputs, wanted).name == wanted


def test_factors_asked_for_are_refused_where_mates_matter(tmp_path):
    """The factored path mixes rows as the model does, and is not taken."""
    _, inputs = world(tmp_path, "nrms")
    with pytest.raises(ConfigError, match=r"`factored` does not work on this model: row \d+ differs"):
        choose(Mingled().eval(), inputs, "factored")


def test_a_row_without_history_and_a_single_row_are_taken(tmp_path):
    """Rows that lack a history, and a data set of one row, are no reason to leave the factored path."""
    model, inputs = world(tmp_path, "nrms")
    rows = inputs.impressions
    emptied = Ragged.of([[] if i < 2 else rows.history[i] for i in range(len(rows))])
    cold = dataclasses.replace(inputs, impressions=dataclasses.replace(rows, history=emptied))
    assert choose(model, cold).name == "factored"
    one = dataclasses.replace(inputs, impressions=rows.subset(np.array([3])), users=inputs.users[[3]])
    assert choose(Small().eval(), one).name == "factored"


@pytest.mark.parametrize("name", MODELS)
def test_preflight_takes_factors_for_every_model_of_ours(tmp_path, name):
    """NRMS, NAML and LSTUR all take the factored path."""
    assert choose(*world(tmp_path, name)).name == "factored"


def test_preflight_is_not_misled_by_a_row_without_a_gradient(tmp_path):
    """A row whose candidates all look alike has a gradient of rounding alone, on which no two paths agree."""
    model, inputs = topic_world(tmp_path, "naml", ("category",))
    same = [i for i in range(len(inputs)) if len(set(inputs.views["category"][inputs.impressions.candidates[i]])) == 1]
    assert same
    rows = np.array([same[0], *(i for i in range(20) if i not in same)])
    few = dataclasses.replace(inputs, impressions=inputs.impressions.subset(rows), users=inputs.users[rows])
    assert choose(model, few).name == "factored"


def test_preflight_refuses_a_forced_path_that_fails(tmp_path):
    """`gradient: functional` on such a model is an error that says why."""
    _, inputs = world(tmp_path, "nrms")
    with pytest.raises(ConfigError, match="`functional` does not work on this model: RuntimeError"):
        choose(Looping().eval(), inputs, "functional")


def test_preflight_takes_the_loop_when_asked(tmp_path):
    """No vmap is tried."""
    assert choose(*world(tmp_path, "nrms"), "loop").name == "loop"


def test_preflight_names_a_row_whose_gradient_is_not_finite(tmp_path):
    """NaN in a weight that the checks did not see still names the row."""
    model, inputs = world(tmp_path, "nrms")
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if n.startswith("user")).fill_(float("nan"))
    with pytest.raises(NumericalError, match=r"row \d+ \(.*\) has a gradient that is not finite in `"):
        choose(model, inputs)
