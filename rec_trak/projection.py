"""Per-row gradients -> K numbers a row, by seeded sketches. Not here: how gradients are made or stored."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor
from trak.projectors import AbstractProjector

from rec_trak.errors import NumericalError

GOLDEN = 0x9E3779B97F4A7C15
MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


class NonFiniteGradient(NumericalError):
    """A projected gradient is NaN or Inf; `positions` are the places of the rows in the batch."""

    def __init__(self, positions: list[int]) -> None:
        super().__init__(f"projection: gradients are not finite at batch positions {positions}")
        self.positions = positions


def hash_uint64(key: str, count: int) -> np.ndarray:
    """`count` well-mixed 64-bit numbers for the indices 0, 1, ... under `key`; the same on every machine.

    Source: the output function of SplitMix64 (Steele, Lea and Flood 2014), started from a hash of `key`.
    """
    start = np.uint64(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little"))
    with np.errstate(over="ignore"):
        z = start + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
        for shift, factor in MIXERS:
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        return z ^ (z >> np.uint64(31))


def count_sketch_map(key: str, count: int, proj_dim: int) -> tuple[Tensor, Tensor]:
    """Bucket (count,) int64 in [0, proj_dim) and sign (count,) float32 of each index under `key`.

    Source: Charikar, Chen and Farach-Colton 2002, count-sketch.
    """
    z = hash_uint64(key, count)
    bucket = ((z >> np.uint64(32)) * np.uint64(proj_dim)) >> np.uint64(32)
    sign = 1.0 - 2.0 * (z & np.uint64(1)).astype(np.float32)
    return torch.from_numpy(bucket.astype(np.int64)), torch.from_numpy(sign)


class CountSketchProjector(AbstractProjector):
    """Count-sketch of dense per-row gradients: every parameter entry is added, with its sign, into one of K buckets.

    Inner products are unbiased, and the map depends on (seed, model id, parameter name, index) alone.
    """

    def __init__(self, grad_dim: int, proj_dim: int, seed: int, device: str = "cpu") -> None:
        super().__init__(grad_dim, proj_dim, seed, "count_sketch", device)
        self._maps: dict[str, tuple[Tensor, Tensor]] = {}
        self._model_id: int | None = None

    def project(self, grads: dict[str, Tensor], model_id: int) -> Tensor:
        """Sketches (B, K) float32 of gradients given as parameter name -> (B, *shape).

        Raises:
            NonFiniteGradient: a row's gradient holds NaN or Inf.
        """
        if model_id != self._model_id:
            self._maps, self._model_id = {}, model_id
        batch = len(next(iter(grads.values())))
        sketches = torch.zeros(batch, self.proj_dim, device=self.device)
        for name, grad in grads.items():
            flat = grad.reshape(batch, -1).float()
            bucket, sign = self._map(name, flat.shape[1])
            sketches.index_add_(1, bucket, flat * sign)
        bad = torch.nonzero(~torch.isfinite(sketches).all(dim=1)).flatten()
        if len(bad):
            raise NonFiniteGradient(bad.tolist())
        return sketches

    def _map(self, name: str, count: int) -> tuple[Tensor, Tensor]:
        if name not in self._maps:
            bucket, sign = count_sketch_map(f"{self.seed}|{self._model_id}|{name}", count, self.proj_dim)
            self._maps[name] = (bucket.to(self.device), sign.to(self.device))
        return self._maps[name]

    def free_memory(self) -> None:
        """Drop the maps; the next batch makes them again (traker calls this and then goes on projecting)."""
        self._maps = {}
