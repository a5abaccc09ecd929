"""Featurizing needs no memory that grows with the vocabulary, beyond the model itself, nor with rows or articles."""

import os
import subprocess
import sys

import pytest
from support import ROOT

SCRIPT = """
import gc, sys
sys.path.insert(0, sys.argv[1])
import numpy as np, torch
torch.set_num_threads(1)
from workload import make_inputs
from rec_trak.clicks import ClickOutput
from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.batches import article_views
from rec_trak.data.spans import make_span
from rec_trak.gradients.articles import ArticleComputer
from rec_trak.gradients.computers import FactoredComputer, make_batch
from rec_trak.gradients.structures import find_structure
from rec_trak.models.build import build_model
from rec_trak.sketch.projection import SketchProjector
from rec_trak.sketch.spans import SpanProjector

vocabulary, rows, articles, in_spans = map(int, sys.argv[2:])
sizes = {"word_dim": 32, "heads": 2, "head_dim": 16, "query_dim": 32}
text = TextConfig(words=tuple(map(str, range(vocabulary))))
model = build_model(ModelConfig("nrms", ("title",), sizes, text)).eval()
assert model.state_dict() and len(max(model.parameters(), key=len)) == vocabulary + 2

def featurize(model, inputs, batches):
    computer, projector = FactoredComputer(model, ClickOutput("softmax")), SketchProjector(0, 512, 0)
    for i in range(batches):
        batch = make_batch("factored", model, inputs, np.arange(64 * i, 64 * i + 64), "cpu")
        projector.project(computer.compute_per_sample_grad(batch), 0)

def featurize_spans(model, inputs):
    computer, projector = ArticleComputer(model, ClickOutput("softmax")), SpanProjector(0, 512, 0)
    computer.structure, _ = find_structure(model, article_views(inputs, np.arange(4)), computer.parameters)
    for start in range(0, len(inputs), 320):
        span = make_span(inputs, np.arange(start, start + 320), 4, 64, "cpu")
        projector.project(computer.compute_per_sample_grad(span), 0)

def kilobytes(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))

# What a process pays once (thread pools, lazy imports) is paid on a tiny model, before anything is measured.
featurize(build_model(ModelConfig("nrms", ("title",), sizes, TextConfig(words=("a",) * 1000))).eval(),
          make_inputs(64, vocabulary=1000, articles=200, max_history=2), 1)
small = make_inputs(320, vocabulary=1000, articles=200, max_history=2)
if in_spans:
    featurize_spans(build_model(ModelConfig("nrms", ("title",), sizes, TextConfig(words=("a",) * 1000))).eval(), small)
inputs = make_inputs(rows, vocabulary=vocabulary, articles=articles, max_history=12 if in_spans else 50)
gc.collect()
open("/proc/self/clear_refs", "w").write("5")  # the peak is from here on
before = kilobytes("VmRSS")
featurize_spans(model, inputs) if in_spans else featurize(model, inputs, 10)
print(kilobytes("VmHWM") - before)
"""


def peak_beyond_the_model(vocabulary, rows=640, articles=2000, in_spans=False):
    """KB that featurizing adds at its peak to a process that holds the model, its state dict and the rows."""
    numbers = (vocabulary, rows, articles, int(in_spans))
    command = [sys.executable, "-c", SCRIPT, str(ROOT / "benchmarks"), *map(str, numbers)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


READABLE = pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak is read from Linux's /proc"
)


@READABLE
@pytest.mark.long
def test_peak_memory_does_not_grow_with_the_vocabulary():
    """The peak beyond the model is the same within 20 % for 20,000 and 400,000 words."""
    small, large = peak_beyond_the_model(20_000), peak_beyond_the_model(400_000)
    assert small > 10_000  # KB: something was measured
    assert abs(large / small - 1) < 0.2


@READABLE
@pytest.mark.long
def test_peak_memory_of_spans_does_not_grow_with_anything():
    """Where articles are taken once each, three times the rows with ten times the articles and twenty times the words
    add less than a quarter to the peak of spans of one size."""
    before = peak_beyond_the_model(20_000, articles=10_000, in_spans=True)
    assert before > 10_000
    assert peak_beyond_the_model(400_000, rows=1920, articles=100_000, in_spans=True) < 1.25 * before
