"""Laws of the shared layers: equal to torch's own or to closed forms over what is real, and silent about the rest."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from rec_trak.models.layers import GRU, AdditiveAttention, SelfAttention, TextCNN, masked_softmax, pick


def test_masked_softmax_is_the_softmax_of_the_real_entries():
    """Law: over the real entries it is the softmax, elsewhere 0; a row without any gives zeros and finite gradients."""
    logits = torch.tensor([[1.0, 90.0, 2.0], [3.0, 4.0, 5.0]], requires_grad=True)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    weights = masked_softmax(logits, mask)
    torch.testing.assert_close(weights[0, [0, 2]], torch.softmax(torch.tensor([1.0, 2.0]), dim=0))
    assert weights[0, 1] == 0
    assert weights[1].tolist() == [0, 0, 0]
    (weights * torch.arange(3)).sum().backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1].tolist() == [0, 0, 0]


def test_picked_articles_repeat_their_gradients():
    """Law: the gradient of articles picked many times has the same bits each time, also with several threads."""
    torch.manual_seed(0)
    vectors, weights = torch.randn(150, 64, requires_grad=True), torch.randn(64, 50, 64)
    places, mask = torch.randint(0, 150, (64, 50)), torch.ones(64, 50, dtype=torch.bool)
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        grads = [torch.autograd.grad((pick(vectors, places, mask) * weights).sum(), vectors)[0] for _ in range(20)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(grad, grads[0]) for grad in grads)


def test_additive_attention_is_its_formula():
    """Law: sum over elements of softmax(q . tanh(W x + b)) x."""
    torch.manual_seed(0)
    layer, x = AdditiveAttention(4, 3), torch.randn(1, 5, 4)
    w, b, q = (p.detach().numpy() for p in (layer.projection.weight, layer.projection.bias, layer.query.weight))
    logits = np.tanh(x[0].numpy() @ w.T + b) @ q[0]
    alpha = np.exp(logits) / np.exp(logits).sum()
    expected = torch.from_numpy(alpha @ x[0].numpy())
    torch.testing.assert_close(layer(x, torch.ones(1, 5, dtype=torch.bool))[0], expected, atol=1e-6, rtol=1e-5)


def test_self_attention_is_scaled_dot_product_attention():
    """Law: equal to torch's own attention of the same projections, heads side by side, padded places zero."""
    torch.manual_seed(0)
    layer, x = SelfAttention(6, 2, 3), torch.randn(2, 4, 6)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    q, k, v = (w(x).unflatten(-1, (2, 3)).transpose(1, 2) for w in (layer.w_q, layer.w_k, layer.w_v))
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :]).transpose(1, 2).flatten(2)
    torch.testing.assert_close(layer(x, mask), expected * mask[..., None], atol=1e-6, rtol=1e-5)


def test_transposed_self_attention():
    """Law: element j gets from i what i gets from j in plain self-attention; padded places give and get nothing."""
    torch.manual_seed(0)
    layer, x = SelfAttention(6, 2, 3, "transposed"), torch.randn(2, 4, 6)
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    q, k, v = (w(x).unflatten(-1, (2, 3)).transpose(1, 2) for w in (layer.w_q, layer.w_k, layer.w_v))
    for text, count in ((0, 4), (1, 2)):
        alpha = torch.softmax(q[text, :, :count] @ k[text, :, :count].transpose(1, 2) / 3**0.5, dim=-1)
        expected = (alpha.transpose(1, 2) @ v[text, :, :count]).transpose(0, 1).flatten(1)
        torch.testing.assert_close(layer(x, mask)[text, :count], expected, atol=1e-6, rtol=1e-5)
        assert not layer(x, mask)[text, count:].any()


def test_text_cnn_is_a_linear_layer_on_windows():
    """Law: ReLU(W [x_t-1, x_t, x_t+1] + b) with zeros beyond both ends, then attention over the real places."""
    torch.manual_seed(0)
    layer = TextCNN(4, 5, 3, 3, dropout=0.0)
    words = torch.randn(1, 6, 4)
    windows = F.pad(words, (0, 0, 1, 1)).unfold(1, 3, 1)  # (1, 6, 4, 3)
    contexts = torch.relu(torch.einsum("ntdw,fdw->ntf", windows, layer.conv.weight) + layer.conv.bias)
    mask = torch.ones(1, 6, dtype=torch.bool)
    torch.testing.assert_close(layer(words, mask), layer.attention(contexts, mask), atol=1e-6, rtol=1e-5)


def test_gru_is_torchs_on_packed_sequences():
    """Law: with nn.GRU's state_dict, the last state is that of nn.GRU on the packed sequence, from any first state."""
    torch.manual_seed(0)
    theirs, ours = nn.GRU(4, 3, batch_first=True), GRU(4, 3)
    ours.load_state_dict(theirs.state_dict())
    lengths = torch.tensor([5, 1, 3])
    x, start = torch.randn(3, 5, 4), torch.randn(3, 3)
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    _, expected = theirs(packed, start[None])
    mask = torch.arange(5) < lengths[:, None]
    torch.testing.assert_close(ours(x, mask, start), expected[0], atol=1e-6, rtol=1e-5)


def test_gru_keeps_its_state_where_nothing_is_real():
    """Law: masked steps anywhere change nothing; a sequence without a real step returns the first state."""
    torch.manual_seed(0)
    gru, x, start = GRU(4, 3), torch.randn(1, 5, 4), torch.randn(1, 3)
    mask = torch.tensor([[False, True, False, True, False]])
    kept = gru(x[:, [1, 3]], torch.ones(1, 2, dtype=torch.bool), start)
    torch.testing.assert_close(gru(x, mask, start), kept)
    assert torch.equal(gru(x, torch.zeros(1, 5, dtype=torch.bool), start), start)
