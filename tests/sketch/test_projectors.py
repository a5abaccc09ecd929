"""Which projector a run gets, and traker's own behind our interface."""

import numpy as np
import pytest
import torch
from support import tiny
from trak.projectors import BasicProjector

from rec_trak.attribution.session import featurize
from rec_trak.clicks import ClickOutput
from rec_trak.errors import ConfigError
from rec_trak.gradients.computers import FactoredComputer, make_batch
from rec_trak.sketch import projectors
from rec_trak.sketch.projection import NonFiniteGradient
from rec_trak.sketch.projectors import choose_projector, cuda_trouble, make_projector
from rec_trak.store.reading import read_member


def test_auto_is_the_sketch_on_a_cpu():
    """No CUDA, no CUDA kernel."""
    assert choose_projector("auto", None, "cpu", 512) == "sketch"


def test_auto_on_a_store_is_what_the_store_holds(tmp_path):
    """A second run without the key goes on with the first run's projector."""
    featurize(tiny.make_job(tmp_path, projector="gaussian"))
    again = tiny.make_job(tmp_path)
    assert again.projector == "gaussian"
    assert featurize(again).computed == 0


def test_gaussian_is_trakers_own_on_the_same_gradients(tmp_path):
    """The store holds what traker's BasicProjector makes of the dense gradients."""
    job = tiny.make_job(tmp_path, projector="gaussian")
    featurize(job)
    computer = FactoredComputer(job.model, ClickOutput("softmax"), grad_wrt=job.grad_wrt)
    rows = np.arange(5)
    dense = computer.compute_per_sample_grad(make_batch("factored", job.model, job.inputs, rows, "cpu")).dense()
    inner = BasicProjector(job.parameter_count, 16, job.seed, "normal", "cpu")
    expected = inner.project(torch.cat([g.flatten(1) for g in dense.values()], dim=1), 0) / job.parameter_count**0.5
    np.testing.assert_allclose(read_member(job.save_dir, 0)[0][:5], expected, rtol=1e-3, atol=1e-5)


def test_dense_projectors_name_a_row_that_is_not_finite():
    """As the sketch does."""
    projector = make_projector("gaussian", 6, 4, 0, "cpu")
    grads = {"w": torch.ones(3, 2, 3)}
    grads["w"][1, 0, 0] = float("inf")
    with pytest.raises(NonFiniteGradient, match=r"positions \[1\]"):
        projector.project(grads, 0)


def test_cuda_projector_is_refused_where_it_cannot_run():
    """Asked for by name on a CPU, or with a K that the kernel does not have."""
    with pytest.raises(ConfigError, match="traker's CUDA projector cannot be used: the device is cpu"):
        choose_projector("cuda", None, "cpu", 512)
    with pytest.raises(ConfigError, match="`proj_dim` 100 is not a multiple of 512"):
        choose_projector("cuda", None, "cuda", 100)


class Zeros:
    """A kernel that was built for another GPU: no error, and zeros."""

    def __init__(self, *arguments):
        pass

    def project(self, rows, model_id):
        return torch.zeros(len(rows), 512)


class NotLinear(Zeros):
    """Keeps norms, but is no matrix."""

    def project(self, rows, model_id):
        out = torch.ones(len(rows), 512)
        return out * rows.norm(dim=1, keepdim=True)


@pytest.mark.parametrize(("kernel", "trouble"), [(Zeros, "does not keep norms"), (NotLinear, "not linear")])
def test_self_test_finds_a_broken_kernel(monkeypatch, kernel, trouble):
    """A kernel that returns zeros, or is not linear, is not trusted."""
    monkeypatch.setattr(projectors, "CudaProjector", kernel)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    real = torch.randn
    monkeypatch.setattr(torch, "randn", lambda *shape, **more: real(*shape))
    monkeypatch.setattr(torch, "Generator", lambda device: torch.default_generator)
    assert trouble in cuda_trouble("cuda", 512)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_job_on_cuda_agrees_with_the_cpu(tmp_path):
    """The sketch of a row is the same on both devices to 1e-4 of its norm."""
    cpu = tiny.make_job(tmp_path, save_dir=str(tmp_path / "cpu"), projector="sketch")
    cuda = tiny.make_job(tmp_path, save_dir=str(tmp_path / "cuda"), projector="sketch", device="cuda")
    for job in (cpu, cuda):
        featurize(job)
    phi, other = (np.array(read_member(job.save_dir, 0)[0]) for job in (cpu, cuda))
    assert (np.linalg.norm(other - phi, axis=1) <= 1e-4 * np.linalg.norm(phi, axis=1)).all()
