"""Laws of digests of weights."""

import torch

from rec_trak.attribution.digests import state_digest
from rec_trak.store.manifest import digest


def test_a_digest_is_of_names_shapes_formats_and_bytes():
    """Of formats that numpy knows it is the digest of the arrays; others have one too, and none is another's."""
    values = torch.arange(6.0).reshape(2, 3)
    assert state_digest({"b": values, "a": values[0]}) == digest("a", values[0].numpy(), "b", values.numpy())
    formats = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn)
    found = {state_digest({"a": values.to(dtype)}) for dtype in formats}
    found |= {state_digest({"a": values.T.bfloat16()}), state_digest({"a": values.bfloat16() + 1})}
    assert len(found) == len(formats) + 2
    assert state_digest({"a": values.T.bfloat16()}) == state_digest({"a": values.T.contiguous().bfloat16()})
