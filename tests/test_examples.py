"""The notebook runs from its first cell to its last, shows what it says, and is small."""

import json
import os
from unittest import mock

import nbformat
import pytest
from nbclient import NotebookClient
from support import ROOT, finished

NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


@pytest.mark.long
def test_the_notebook_runs(tmp_path):
    """Law: on a finished run of a tiny world, in a kernel of its own, without an error; each table names its units."""
    folder = finished.finished_run(tmp_path)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with mock.patch.dict(os.environ, {"REC_TRAK_RESULTS": str(folder), "PYTHONPATH": path}):
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert {output.output_type for output in shown} == {"execute_result"}
    tables = [output.data["text/html"] for output in shown if "text/html" in output.data]
    assert len(tables) == 6
    assert "<i>influence</i>: margin units" in tables[1]
    assert "clicked candidate" in tables[4]
    assert sum("image/png" in output.data for output in shown) == 1


def test_its_outputs_are_kept_and_small():
    """Law: a reader sees them without running anything, below 100 KB, and nobody's folder stands in them."""
    text = NOTEBOOK.read_text(encoding="utf-8")
    cells = json.loads(text)["cells"]
    assert all(cell["outputs"] for cell in cells if cell["cell_type"] == "code")
    assert len(text) < 100_000
    assert "/tmp/" not in text
    assert "/home/" not in text
