"""Laws of what a pickle may ask for: the arguments are a stranger's, so wrong ones are errors before memory is
asked for.
"""

import numpy as np
import pytest
import torch

from rec_trak.checkpoints.rebuild import KNOWN, Inert, NumpyType, Storage, StoredTensor, check_key, from_buffer

STORAGE = Storage("0", torch.float32, 6)
TENSOR = KNOWN["torch._utils._rebuild_tensor_v2"]


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (0, (2, 3), (4, 1)),
        (0, (10**12,), (1,)),
        (0, (2,), (10**18,)),
        (6, (), ()),
    ],
)
def test_a_tensor_ends_where_its_storage_ends(offset, size, stride):
    """Law: no tensor reaches beyond its storage, however its size and strides multiply."""
    with pytest.raises(ValueError, match="reaches element"):
        TENSOR(STORAGE, offset, size, stride, False, None)


@pytest.mark.parametrize(
    ("storage", "offset", "size", "stride"),
    [
        (STORAGE, -1, (2,), (1,)),
        (STORAGE, 0, (-1,), (1,)),
        (STORAGE, 0, (2,), (-1,)),
        (STORAGE, 0, (2, 3), (1,)),
        (STORAGE, 0, (2.0,), (1,)),
        (STORAGE, 0, [2], (1,)),
        (STORAGE, 0, (2**70,), (0,)),
        (STORAGE, 0, (1,) * 65, (1,) * 65),
        (STORAGE, None, (2,), (1,)),
        (Inert("x"), 0, (2,), (1,)),
        ("0", 0, (2,), (1,)),
    ],
)
def test_a_tensor_is_described_by_counts(storage, offset, size, stride):
    """Law: sizes, strides and offsets are counts of a storage, or the tensor is refused."""
    with pytest.raises(ValueError, match="a tensor is described wrongly"):
        TENSOR(storage, offset, size, stride, False, None)


def test_tensors_on_paper():
    """Law: the three ways to describe a tensor, and a parameter around one, give the same description."""
    expected = StoredTensor(STORAGE, 1, (2,), (2,), torch.float32)
    assert KNOWN["torch._utils._rebuild_tensor"](STORAGE, 1, (2,), (2,)) == expected
    assert TENSOR(STORAGE, 1, (2,), (2,), False, None) == expected
    raw = Storage("0", torch.uint8, 24)
    made = KNOWN["torch._utils._rebuild_tensor_v3"](raw, 1, (2,), (2,), False, None, torch.float32)
    assert (made.offset, made.size, made.dtype) == (1, (2,), torch.float32)
    assert KNOWN["torch._utils._rebuild_parameter"](expected, True, None) is expected
    from_type = KNOWN["torch._tensor._rebuild_from_type_v2"]
    unknown = KNOWN["torch._utils._rebuild_tensor_v3"](raw, 1, (2,), (2,), False, None, Inert("torch.float3"))
    assert unknown.inert_args == ("torch.float3",)
    inner = Inert("torch._utils._rebuild_tensor")
    assert from_type(inner, Inert("torch.Tensor"), (STORAGE, 1, (2,), (2,)), {}) == expected
    for function in (Inert("os.system"), Inert("builtins.set"), "text", None):
        assert isinstance(from_type(function, None, ("x",), {}), Inert)


@pytest.mark.parametrize(
    ("data", "code", "shape", "match"),
    [
        (b"12345678", "f8", (2,), "has 8 bytes"),
        (b"12345678", "f8", (10**12,), "has 8 bytes"),
        (b"12345678", "f8", (-1,), "described wrongly"),
        (b"12345678", "f8", [1], "described wrongly"),
        (b"12345678", "O8", (1,), "described wrongly"),
        (b"12345678", "V8", (1,), "described wrongly"),
        (b"12345678", "f8,f8", (1,), "described wrongly"),
        (b"12345678", 8, (1,), "described wrongly"),
        (b"1", "U9000", (1,), "has 1 bytes"),
    ],
)
def test_an_array_has_the_bytes_of_its_shape(data, code, shape, match):
    """Law: an array of objects or records, or of another size than its bytes, is refused."""
    with pytest.raises(ValueError, match=match):
        from_buffer(data, NumpyType(code), shape)


def test_numpy_values_that_hold_objects_are_stand_ins():
    """Law: a scalar that is no number, text or bytes becomes a stand-in; a date is not read as a number."""
    assert KNOWN["numpy._core.multiarray.scalar"](NumpyType("f8"), np.float64(2).tobytes()) == 2.0
    assert isinstance(KNOWN["numpy._core.multiarray.scalar"](NumpyType("O8"), "x"), Inert)
    assert isinstance(KNOWN["numpy.core.multiarray.scalar"](NumpyType("M8"), b"12345678"), Inert)


@pytest.mark.parametrize(
    ("name", "args", "match"),
    [
        ("_codecs.encode", ("x", "rot13"), "bytes are described wrongly"),
        ("builtins.bytearray", (10**12,), "bytes are described wrongly"),
        ("torch.device", ([],), "a device is described wrongly"),
        ("copyreg._reconstructor", ("x", None, None), "class is a str"),
        ("builtins.set", ([[]],), "a list is used as a key"),
        ("collections.OrderedDict", ([[(((1,),),), 1]],), "a tuple is used as a key"),
    ],
)
def test_wrong_arguments(name, args, match):
    """Law: each function of the table refuses what it was not made for."""
    with pytest.raises(ValueError, match=match):
        KNOWN[name](*args)


def test_keys():
    """Law: what may be a key is a number, text, bytes, None, a type, a stand-in, or one tuple of those."""
    for key in (1, 2.0, "a", b"b", None, True, Inert("x"), torch.float32, (1, "a"), ()):
        check_key(key)
    for key in ([], {}, ((1,),), object()):
        with pytest.raises(ValueError, match="used as a key"):
            check_key(key)


def test_small_values():
    """Law: devices, sizes, complex numbers and bytes come out as plain values."""
    assert KNOWN["torch.device"]("cuda", 1) == "cuda:1"
    assert KNOWN["torch.device"]("cpu") == "cpu"
    assert KNOWN["torch.Size"]([2, 3]) == (2, 3)
    assert KNOWN["builtins.complex"](1, 2.0) == 1 + 2j
    assert KNOWN["_codecs.encode"]("\xff", "latin1") == b"\xff"
    assert KNOWN["builtins.bytearray"](b"a") == b"a"
    assert KNOWN["copyreg._reconstructor"](Inert("a.B"), None, None).inert_class == "a.B"
