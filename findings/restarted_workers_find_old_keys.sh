#!/usr/bin/env bash
# One would guess that workers which torchrun restarts (`--max-restarts`) meet in an empty store, as torch's own source
# says ("we create a new TCPStore for every retry"). They meet in the one that the dead wrote to: a counter goes on where
# it stood and a key that was set is there already, so that barriers and work counters of one's own pass at once. torch
# 2.13.0, torch/distributed/rendezvous.py; the store is shared by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export TMPDIR="$folder" OMP_NUM_THREADS=1
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$folder"
cat > worker.py <<'PY'
import os
import sys
from datetime import timedelta

import torch
from torch.distributed import rendezvous

store, rank, size = next(rendezvous("env://", timeout=timedelta(seconds=60)))
attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
drawn = store.add("drawn", 1)
with open(f"attempt_{attempt}_{rank}", "w") as file:
    file.write(f"{drawn}")
store.add("here", 1)
while store.add("here", 0) < size:
    pass
if rank == 0:
    print(f"torch {torch.__version__}, attempt {attempt}: the first number drawn is {drawn} of {size} workers", flush=True)
sys.exit(attempt == "0")
PY
"$folder/venv/bin/python" -m torch.distributed.run --standalone --nproc_per_node 2 --max-restarts 1 worker.py 2> errors || { cat errors; exit 1; }
"$folder/venv/bin/python" - <<'PY'
drawn = {attempt: sorted(int(open(f"attempt_{attempt}_{rank}").read()) for rank in (0, 1)) for attempt in (0, 1)}
print("numbers drawn by attempt:", drawn)
assert drawn == {0: [1, 2], 1: [3, 4]}, "a restarted job starts from an empty store"
print("as found: the second attempt goes on from the first one's counter")
PY
