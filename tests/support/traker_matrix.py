"""The (N, M) scores as traker itself finalizes them, from a store of ours: what our streamed scores must equal.

rec-trak never takes this path: it holds (N, K) and (N, M) in memory. Not here: tests.
"""

import contextlib
import io
from unittest import mock

import numpy as np

from rec_trak.attribution import filling
from rec_trak.attribution.ways import Way
from rec_trak.gradients.preflight import GradientChoice
from rec_trak.store.manifest import write_json
from rec_trak.store.saver import RowSaver


class MatrixSaver(RowSaver):
    """Ours, with the files that traker's finalizing fills."""

    def load_current_store(self, model_id, exp_name=None, exp_num_targets=-1, mode="r+"):
        super().load_current_store(model_id, exp_name, exp_num_targets, mode)
        folder, n = self.save_dir / str(model_id), self.train_set_size
        if exp_name is None:
            name, path, shape = "features", folder / "features.mmap", (n, self.proj_dim)
        else:
            name, path = f"{exp_name}_scores", self.save_dir / "scores" / f"{exp_name}.mmap"
            shape = (n, exp_num_targets)
        self.current_store[name] = self._load(path, shape, "r+" if path.exists() else "w+")

    def save_scores(self, exp_name):
        self.current_store[f"{exp_name}_scores"].flush()
        self.experiments[exp_name]["scores_finalized"] = 1
        write_json(self.experiments_file, self.experiments)


def finalized_scores(job, name: str, count: int) -> np.ndarray:
    """(N, M), of a job whose rows and targets `name` are featurized."""
    with mock.patch.object(filling, "RowSaver", MatrixSaver):
        traker = filling.make_traker(job, Way(GradientChoice("loop", ""), None, None), "softmax")
    saver, ids = traker.saver, list(range(len(job.members)))
    for model_id in ids:
        saver.model_ids[model_id]["is_finalized"] = 0  # traker would keep the features of another ridge
    with contextlib.redirect_stderr(io.StringIO()):  # its own bars, which no logging level silences
        traker.finalize_features(model_ids=ids)
        for model_id in ids:
            saver.load_current_store(model_id)
            saver.init_experiment(name, count, model_id)
        traker.finalize_scores(name, model_ids=ids)
    return np.load(job.save_dir / "scores" / f"{name}.mmap")
