"""Factored gradients: uses and rows that plain modules leave out, Q of the same pass, and what must be refused."""

import numpy as np
import pytest
import torch
from support import tiny
from support.recommenders import MODELS
from torch import nn

from rec_trak.clicks import LOSSES, ClickOutput
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.batches import Batch, Pairs, unique_batch
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError
from rec_trak.gradients.computers import FactoredComputer, make_batch, row_gradient, without_gradient
from rec_trak.gradients.factors import Recorder
from rec_trak.gradients.takers import TAKERS
from rec_trak.models.build import build_model
from rec_trak.models.layers import GRU

OWNERS = {  # four rows; pairs of the third are none, or k blocks a row in order
    "pairs": torch.tensor([0, 0, 0, 1, 3, 3, 3, 3]),
    "blocks": torch.arange(4).repeat_interleave(2),
}


class Of(nn.Module):
    """Parts, and a function of them and of ids (n, 7) and vectors (n, 7, 6) that gives (n, ...)."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, ids, x):
        return self.function(self, ids, x)


def vector(*shape):
    return nn.Parameter(torch.randn(*shape))


def conv(**keys):
    return lambda: Of(lambda m, i, x: m.conv(x.transpose(1, 2)), conv=nn.Conv1d(6, 4, **keys))


def attention(function, **keys):
    return lambda: Of(function, inner=nn.Linear(6, 6), att=nn.MultiheadAttention(6, 2, batch_first=True, **keys))


def self_attention(m, i, x):
    x = m.inner(x)
    return m.att(x, x, x, key_padding_mask=i == 0, need_weights=False)[0]


def raw_attention(m, i, x):
    """Nothing before the layer needs a gradient, which is where torch would take a fused path."""
    return m.inner(m.att(x, x, x, need_weights=False)[0])


def cross_attention(m, i, x):
    out, weights = m.att(m.inner(x)[:, :2], x, torch.sin(x), attn_mask=torch.eye(2, 7, dtype=torch.bool))
    return torch.cat([out.flatten(1), weights.flatten(1)], dim=1)


def tied():
    net = Of(
        lambda m, i, x: m.head(torch.tanh(m.words(i))), words=nn.Embedding(11, 6, padding_idx=0), head=nn.Linear(6, 11)
    )
    net.head.weight = net.words.weight
    return net


USES = {
    "linear": lambda: Of(lambda m, i, x: m.b(torch.tanh(m.a(x))), a=nn.Linear(6, 5), b=nn.Linear(5, 3, bias=False)),
    "linear on rows": lambda: Of(lambda m, i, x: m.a(x[:, 0]), a=nn.Linear(6, 5)),
    "embedding": lambda: Of(lambda m, i, x: m.a(i) * x, a=nn.Embedding(11, 6, padding_idx=0)),
    "embedding, last id pads": lambda: Of(lambda m, i, x: m.a(i) * x, a=nn.Embedding(11, 6, padding_idx=-1)),
    "embedding of one id": lambda: Of(lambda m, i, x: m.a(i[:, 0]) * x[:, 0], a=nn.Embedding(11, 6)),
    "embedding twice": lambda: Of(lambda m, i, x: m.a(i) * m.a(i.flip(1)[:, :1]) * x, a=nn.Embedding(11, 6)),
    "positions of all": lambda: Of(
        lambda m, i, x: m.a(i) * x + m.b(torch.arange(7)[None]), a=nn.Embedding(11, 6), b=nn.Embedding(9, 6)
    ),
    "tied": tied,
    "conv same": conv(kernel_size=3, padding="same"),
    "conv same, even": conv(kernel_size=4, padding="same"),
    "conv same, dilated": conv(kernel_size=3, padding="same", dilation=2),
    "conv valid": conv(kernel_size=2, padding="valid"),
    "conv padded": conv(kernel_size=3, padding=2),
    "conv strided": conv(kernel_size=3, stride=2, padding=1),
    "conv dilated": conv(kernel_size=3, dilation=2, bias=False),
    "conv circular": conv(kernel_size=3, padding=1, padding_mode="circular"),
    "conv in groups": conv(kernel_size=3, groups=2, stride=2, padding=1),
    "conv 2d": lambda: Of(lambda m, i, x: m.a(x.unsqueeze(1)), a=nn.Conv2d(1, 4, (3, 6), padding=(1, 0))),
    "conv 2d in groups": lambda: Of(
        lambda m, i, x: m.a(x.unflatten(2, (2, 3)).transpose(1, 2)),
        a=nn.Conv2d(2, 4, (3, 2), stride=(2, 1), dilation=(1, 2), padding="valid", groups=2),
    ),
    "conv 2d same": lambda: Of(lambda m, i, x: m.a(x.unsqueeze(1)), a=nn.Conv2d(1, 2, (2, 3), padding="same")),
    "batch norm": lambda: Of(
        lambda m, i, x: m.a(x.transpose(1, 2)) * m.b(x[:, 0])[:, :, None], a=nn.BatchNorm1d(6), b=nn.BatchNorm1d(6)
    ),
    "group norm": lambda: Of(lambda m, i, x: m.a(x.transpose(1, 2)), a=nn.GroupNorm(3, 6)),
    "rms norm": lambda: Of(lambda m, i, x: m.b(m.a(x)), a=nn.Linear(6, 5), b=nn.RMSNorm(5)),
    "bag": lambda: Of(lambda m, i, x: m.a(i) * x[:, 0], a=nn.EmbeddingBag(11, 6, padding_idx=0)),
    "bag, sum": lambda: Of(lambda m, i, x: m.a(i) * x[:, 0], a=nn.EmbeddingBag(11, 6, mode="sum")),
    "parameter by index": lambda: Of(lambda m, i, x: m.a[i] * m.a[-i[:, :1]] * x, a=vector(11, 6)),
    "layer norm": lambda: Of(lambda m, i, x: m.b(m.a(x)), a=nn.Linear(6, 5), b=nn.LayerNorm(5)),
    "self-attention": attention(self_attention),
    "attention without bias": attention(self_attention, bias=False),
    "attention on data": attention(raw_attention),
    "cross-attention": attention(cross_attention),
    "matrix": lambda: Of(lambda m, i, x: x.matmul(m.a) @ m.b, a=vector(6, 5), b=vector(5, 3)),
    "query": lambda: Of(lambda m, i, x: torch.softmax(torch.tanh(x) @ m.a, 1) * x.sum(2), a=vector(6)),
    "query on rows": lambda: Of(lambda m, i, x: torch.matmul(x[:, 0], m.a), a=vector(6)),
    "add and mul": lambda: Of(lambda m, i, x: x * m.a + m.b, a=vector(6), b=vector(6)),
    "add and mul, turned": lambda: Of(lambda m, i, x: torch.add(m.b, m.a * x), a=vector(6), b=vector(6)),
    "GRU": lambda: Of(lambda m, i, x: m.a(x, i != 0, x[:, 0, :5]), a=GRU(6, 5)),
    "not reaching f": lambda: Of(
        lambda m, i, x: (m.c(x).detach() + m.d(x), m.a(x))[1],
        a=nn.Linear(6, 5),
        b=vector(3),
        c=nn.Linear(6, 2),
        d=nn.Linear(6, 2),
    ),
}


def data(blocks):
    """Ids with padding at the end and an id several times in a block; vectors."""
    ids = torch.randint(1, 11, (blocks, 7))
    ids[0, :4], ids[1, 5:], ids[2, 1:] = 4, 0, 0
    return ids, torch.randn(blocks, 7, 6)


def assert_close(found, expected):
    """|g - g'| <= 1e-5 |g'|, so that a row whose gradient is zero gets zeros."""
    error = sum(float((found[n] - g).square().sum()) for n, g in expected.items()) ** 0.5
    assert error <= 1e-5 * sum(float(g.square().sum()) for g in expected.values()) ** 0.5


def f_of(values, owner):
    """A number a row; places count differently, so that a factor at the wrong place shows."""
    values = torch.sin(values.reshape(len(values), -1) * 2)
    return torch.zeros(4).index_add(0, owner, values @ torch.linspace(0.2, 1, values.shape[1]))


@pytest.mark.parametrize("owners", OWNERS)
@pytest.mark.parametrize("use", USES)
def test_every_use_equals_plain_autograd(use, owners):
    """|g - g'| / |g'| <= 1e-5 for each row, with a leading dimension of pairs, or of k B blocks."""
    net, owner = USES[use]().eval(), OWNERS[owners]
    inputs, parameters = data(len(owner)), dict(net.named_parameters())
    recorder = Recorder(parameters, 4, TAKERS)
    recorder.owner = owner if owners == "pairs" else None
    with without_gradient(net), recorder:
        values = net(*inputs)
    found = recorder.factors(f_of(values, owner)).dense()
    assert recorder.unknown == []
    f = f_of(net(*inputs), owner)
    for b in range(4):
        plain = torch.autograd.grad(f[b], list(parameters.values()), retain_graph=True, allow_unused=True)
        expected = {
            n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(parameters.items(), plain, strict=True)
        }
        assert_close({n: g[b] for n, g in found.items()}, expected)
    if use == "not reaching f":
        assert all(not found[name].any() for name in ("b", "c.weight", "c.bias", "d.weight", "d.bias"))


def click_log(rows, labels):
    """Rows over six articles, the first of which has no text: articles repeat in a row, one row has no history."""
    rng = np.random.default_rng(0)
    history = [[3, 3, 5, 3], [], [0, 2, 0]] + [rng.integers(6, size=rng.integers(1, 9)).tolist() for _ in range(29)]
    shown = [[3, 5], [4, 4, 1], [2, 0, 2, 2]] + [
        [0, *rng.integers(1, 6, size=rng.integers(1, 5)), 0] for _ in range(29)
    ]
    text = rng.integers(2, 20, size=(6, 5)) * (np.arange(5) < [[0], [1], [2], [3], [5], [5]])
    impressions = Impressions(
        user_ids=np.array([f"u{i % 5}" for i in range(rows)], dtype=object),
        history=Ragged.of(history[:rows]),
        candidates=Ragged.of([s[:2] if labels == "one" else s for s in shown[:rows]]),
        labels=Ragged.of([[1] + [0] * ((2 if labels == "one" else len(s)) - 1) for s in shown[:rows]]),
        is_fake=np.zeros(rows, dtype=np.int8),
        sources=tuple(map(str, range(rows))),
    )
    views = {"title": text.astype(np.int32), "body": text[:, ::-1][::-1].astype(np.int32)}
    return impressions, views, np.arange(rows) % 5


def model_and_inputs(name, rows=32, labels="all"):
    architecture, used, sizes = MODELS[name]
    impressions, views, users = click_log(rows, labels)
    text = TextConfig(words=tuple(map(str, range(18))))
    users_known = tuple("abcde") if architecture == "lstur" else ()
    config = ModelConfig(architecture, used, tiny.SIZES[architecture] | sizes, text, users=users_known)
    return build_model(config).eval(), Inputs(impressions, {view: views[view] for view in used}, users)


@pytest.mark.parametrize("size", [1, 3, 32])
@pytest.mark.parametrize("name", MODELS)
def test_repeated_articles_and_any_batch_size(name, size):
    """|g - g'| / |g'| <= 1e-5 for rows in which an article stands several times, among 0, 2 or 31 others."""
    model, inputs = model_and_inputs(name)
    output, parameters = ClickOutput("softmax"), dict(model.named_parameters())
    computer = FactoredComputer(model, output)
    for start in range(0, 32, size):
        rows = np.arange(start, min(start + size, 32))
        found = computer.compute_per_sample_grad(make_batch("factored", model, inputs, rows, "cpu")).dense()
        for i, row in enumerate(rows):
            expected = row_gradient(model, output, unique_batch(inputs, [row]), parameters)
            assert_close({n: g[i] for n, g in found.items()}, expected)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", MODELS)
def test_q_comes_from_the_same_pass(name, loss, monkeypatch):
    """Q equals ClickOutput's, from one forward pass; of another batch it is not the one kept."""
    model, inputs = model_and_inputs(name, 6, "one" if loss == "bpr" else "all")
    if loss == "bce":
        inputs = Inputs(
            inputs.impressions.__class__(
                **vars(inputs.impressions)
                | {"candidates": Ragged.of([[i] for i in range(6)]), "labels": Ragged.of([[i % 2] for i in range(6)])}
            ),
            inputs.views,
            inputs.users,
        )
    calls, score = [], model.score
    monkeypatch.setattr(model, "score", lambda *given: calls.append(1) or score(*given))
    computer = FactoredComputer(model, ClickOutput(loss))
    first, second = (make_batch("factored", model, inputs, rows, "cpu") for rows in (np.arange(4), np.arange(2, 6)))
    computer.compute_per_sample_grad(first)
    q = computer.compute_loss_grad(first)
    assert len(calls) == 1
    other = computer.compute_loss_grad(second)
    output = ClickOutput(loss)
    for found, rows in ((q, range(4)), (other, range(2, 6))):
        assert found.shape == (4, 1)
        expected = output.get_out_to_loss_grad(model, None, None, unique_batch(inputs, list(rows)))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


class Odd(nn.Module):
    """Scores from a parameter by a function of (module, scores (B, C))."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function, self.base = function, nn.Embedding(4, 1)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, batch):
        return self.function(self, self.base(batch.candidates).squeeze(-1), batch.candidates)


def ungrouped(rows=3):
    """A batch for a model that encodes on its own: 3 candidates a row, ids 0 to 3."""
    some = torch.ones(rows, 3)
    ids = torch.arange(3 * rows).view(rows, 3) % 4
    batch = Batch({}, ids, some.bool(), ids, some.bool(), some, torch.arange(rows))
    return Pairs((), (), torch.zeros(0, dtype=torch.int64), batch)


def turned_conv(m, s, i):
    return s + m.odd(s[:, None].expand(-1, 2, -1)).sum(1)


UNKNOWN = {
    "cumsum": lambda: Odd(lambda m, s, i: s * torch.cumsum(m.odd, 0), odd=vector(3)),
    "expand": lambda: Odd(lambda m, s, i: s + m.odd.expand(len(s), 3), odd=vector(3)),
    "embedding": lambda: Odd(lambda m, s, i: s + m.odd(i).sum(2), odd=nn.Embedding(4, 2, max_norm=1.0)),
    "conv_transpose1d": lambda: Odd(turned_conv, odd=nn.ConvTranspose1d(2, 2, 3, padding=1)),
}


@pytest.mark.parametrize("func", UNKNOWN)
def test_what_cannot_be_taken_apart_is_refused_by_name_and_flags_come_back(func):
    """The error names parameter and function; afterwards the same parameters are trainable as before."""
    model = UNKNOWN[func]().eval()
    frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
    model.frozen = frozen
    flags = {n: p.requires_grad for n, p in model.named_parameters()}
    names = [n for n, wanted in flags.items() if wanted]
    computer = FactoredComputer(model, ClickOutput("softmax"), grad_wrt=names)
    with pytest.raises(ConfigError, match=f"cannot take this model apart: `odd.*` in .*{func}.* Use `loop`"):
        computer.compute_per_sample_grad(ungrouped())
    assert {n: p.requires_grad for n, p in model.named_parameters()} == flags
    assert flags["frozen"] is False


def test_flags_come_back_after_a_pass_and_after_an_exception():
    """A pass switches gradients of weights off inside only, whether it ends well or not."""

    def fail(m, s, i):
        assert not m.base.weight.requires_grad
        if m.broken:
            raise ValueError("in the middle")
        return s

    model = Odd(fail, frozen=nn.Parameter(torch.zeros(2), requires_grad=False)).eval()
    computer = FactoredComputer(model, ClickOutput("softmax"), grad_wrt=["base.weight"])
    for model.broken in (False, True):
        if model.broken:
            with pytest.raises(ValueError, match="in the middle"):
                computer.compute_per_sample_grad(ungrouped())
        else:
            computer.compute_per_sample_grad(ungrouped())
        assert {n: p.requires_grad for n, p in model.named_parameters()} == {"frozen": False, "base.weight": True}
