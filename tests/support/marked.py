"""A store whose maps a test has changed: its check sums made again, as if the numbers had been computed so."""

import json

import numpy as np

from rec_trak.results.belongs import RECORD, bytes_sum
from rec_trak.store.blocks import Part, cut_rows, cut_targets, end
from rec_trak.store.manifest import read_manifest


def mark_again(save_dir, model_id=0, targets=None):
    """New markers for a member's rows, or for a target set of it."""
    manifest, folder = read_manifest(save_dir), save_dir / str(model_id)
    if targets is None:
        names, cut = ("grads", "out_to_loss"), cut_rows(folder, manifest["features"]["row_count"], manifest["blocks"])
    else:
        count = manifest["targets"][targets]["count"]
        names, cut = (f"{targets}_grads",), cut_targets(folder, targets, count, manifest["blocks"])
    arrays = {f"{name}.mmap": np.load(folder / f"{name}.mmap", mmap_mode="r") for name in names}
    for block in range(len(cut)):
        end(Part(cut, arrays, np.zeros(cut.count)), block)


def sum_again(folder, *names):
    """New check sums in belongs.json for files that a test has changed."""
    told = json.loads((folder / RECORD).read_text())
    told |= {name: f"{told[name].split(' ')[0]} {bytes_sum(folder / name)}" for name in names}
    (folder / RECORD).write_text(json.dumps(told))
