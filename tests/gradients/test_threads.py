"""Small work side by side: in order, with one torch thread each, and the process's own number comes back."""

import time

import pytest
import torch
from support.recommenders import world
from support.spans import article_path, span_sketches

from rec_trak.gradients.threads import MOST, one_thread, side_by_side


@pytest.fixture
def threads():
    """Sets torch's threads, and takes that back."""
    held = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(held)


@pytest.mark.parametrize("count", [1, 3, MOST + 2])
def test_items_come_in_order_with_one_thread_each(threads, count):
    """Whichever is done first; and no more items are taken than there are threads."""
    threads(count)
    taken, given = [], []

    def items():
        for i in range(12):
            taken.append(i)
            yield i

    def work(i):
        time.sleep(0.01 * (i % 3 == 0))
        return i, torch.get_num_threads()

    for i, seen in side_by_side(work, items(), "cpu"):
        given.append(i)
        assert seen == 1
        assert len(taken) - len(given) < min(count, MOST)
    assert given == list(range(12))
    assert torch.get_num_threads() == count


def test_what_work_raises_is_raised_here(threads):
    """In its item's turn, and the number of threads comes back."""
    threads(2)

    def work(i):
        if i == 3:
            raise ValueError("three")
        return i

    given = []
    with pytest.raises(ValueError, match="three"):
        given.extend(side_by_side(work, range(6), "cpu"))
    assert given == [0, 1, 2]
    assert torch.get_num_threads() == 2


def test_one_thread_comes_back(threads):
    """After an error too."""
    threads(3)

    def failing():
        with one_thread():
            raise KeyError(torch.get_num_threads())

    with pytest.raises(KeyError, match="1"):
        failing()
    assert torch.get_num_threads() == 3


def test_threads_change_no_bit_of_what_articles_add(tmp_path, threads, monkeypatch):
    """Each article is one thread's: the weights' flags, which all share, hold until the last is done."""
    monkeypatch.setattr("rec_trak.sketch.spans.TOGETHER", 2)
    model, inputs = world(tmp_path, "nrms")
    found = []
    for count in (1, 4):
        threads(1)
        computer, projector = article_path(model, inputs)
        span = computer, projector, inputs
        with monkeypatch.context() as patch:
            patch.setattr("rec_trak.gradients.threads.torch.get_num_threads", lambda count=count: count)
            found.append(span_sketches(*span)[0])
    assert torch.equal(*found)
    assert all(parameter.requires_grad for parameter in model.parameters())
