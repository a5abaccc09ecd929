"""Which projector a run gets: our sketch, or one of traker's own behind the same interface. Not here: the sketch."""

from __future__ import annotations

import torch
from torch import Tensor
from trak.projectors import AbstractProjector, BasicProjector, CudaProjector, ProjectionType

from rec_trak.errors import ConfigError
from rec_trak.gradients.factors import Factors
from rec_trak.sketch.projection import check_finite
from rec_trak.sketch.spans import SpanProjector

CUDA_STEP = 512  # traker's CUDA kernel projects to multiples of this
HALF = 5e-3  # the kernel multiplies in half precision


class DenseProjector(AbstractProjector):
    """One of traker's projectors, for gradients given as factors too; dense gradients of a batch must fit in memory."""

    def __init__(self, inner: AbstractProjector, name: str) -> None:
        super().__init__(inner.grad_dim, inner.proj_dim, inner.seed, name, inner.device)
        self.inner = inner

    def project(self, grads: Factors | dict[str, Tensor], model_id: int) -> Tensor:
        """Projections (B, K) float32.

        Raises:
            NonFiniteGradient: a row's gradient holds NaN or Inf.
        """
        dense = grads.dense() if isinstance(grads, Factors) else grads
        return check_finite(self.inner.project(dense, model_id=model_id).float())

    def free_memory(self) -> None:
        """Nothing: traker's own would delete the matrix that the next batch needs."""


def choose_projector(wanted: str, held: str | None, device: str, proj_dim: int) -> str:
    """The projector to use: what was asked for; for `auto`, what the store holds, or else what suits the device.

    Raises:
        ConfigError: `cuda` was asked for and cannot be trusted here.
    """
    if wanted == "auto":
        if held is not None:
            return held
        return "cuda" if device.startswith("cuda") and cuda_trouble(device, proj_dim) is None else "sketch"
    if wanted == "cuda":
        trouble = cuda_trouble(device, proj_dim)
        if trouble is not None:
            raise ConfigError(
                f"`projector`: traker's CUDA projector cannot be used: {trouble}. Use `sketch` or `auto`."
            )
    return wanted


def make_projector(name: str, grad_dim: int, proj_dim: int, seed: int, device: str) -> AbstractProjector:
    """The projector of that name: `sketch`, `gaussian` (traker's on any device) or `cuda` (traker's kernel)."""
    if name == "sketch":
        return SpanProjector(grad_dim, proj_dim, seed, device)
    if name == "gaussian":
        inner = BasicProjector(grad_dim, proj_dim, seed, ProjectionType.normal, device, dtype=torch.float32)
        return DenseProjector(inner, name)
    return DenseProjector(CudaProjector(grad_dim, proj_dim, seed, ProjectionType.rademacher, device, 32), name)


def cuda_trouble(device: str, proj_dim: int) -> str | None:
    """Why traker's CUDA projector cannot be trusted here, or None.

    A kernel built for another architecture launches without an error and returns zeros, so numbers are looked at: the
    projection must be linear, keep the norm about as a random sign matrix does, and repeat itself.
    """
    if not device.startswith("cuda"):
        return f"the device is {device}"
    if proj_dim % CUDA_STEP:
        return f"`proj_dim` {proj_dim} is not a multiple of {CUDA_STEP}"
    try:
        projector = CudaProjector(4096, proj_dim, 0, ProjectionType.rademacher, device, 8)
        rows = torch.randn(8, 4096, device=device, generator=torch.Generator(device=device).manual_seed(0))
        first, again = projector.project(rows, 0).float(), projector.project(rows, 0).float()
        both = projector.project(rows + rows.flip(0), 0).float()
        torch.cuda.synchronize()
    except (ImportError, RuntimeError, AttributeError, ValueError) as error:
        return " ".join(str(error).split())[:160]
    norms = first.norm(dim=1) / proj_dim**0.5 / rows.norm(dim=1)
    if not torch.allclose(first, again, rtol=HALF, atol=HALF * float(first.abs().max())):
        return "two projections of the same rows differ"
    if not torch.allclose(both, first + first.flip(0), rtol=HALF, atol=4 * HALF * float(first.abs().max())):
        return "it is not linear"
    if not ((norms - 1).abs() < 6 / proj_dim**0.5).all():
        return "it does not keep norms; was it built for this GPU?"
    return None
