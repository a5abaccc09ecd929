"""Laws of the trainer: it learns what is planted, repeats itself, and keeps its best weights."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.training_inputs import CONFIG, make_inputs

from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import Ragged
from rec_trak.errors import ConfigError, DataError, NumericalError
from rec_trak.progress import telling
from rec_trak.training import trainer as training
from rec_trak.training.trainer import TrainSettings, half, train

QUICK = TrainSettings(epochs=3, batch_size=16, learning_rate=1e-2)


def same_weights(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("loss", ["softmax", "bce", "bpr", "marginal"])
def test_the_planted_taste_is_learnt(loss):
    """Law: by each loss, new clicks on the history's topic are ranked first, and the training loss falls."""
    trained = train(CONFIG, make_inputs(), make_inputs(32, 1), replace(QUICK, loss=loss, epochs=6), seed=0)
    assert max(epoch["auc"] for epoch in trained.history) > 0.95
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]
    assert not trained.model.training


def test_the_same_seed_gives_the_same_bits():
    """Law: weights and history depend on the arguments alone, and the caller's generator is left as it was."""
    inputs, validation = make_inputs(), make_inputs(16, 1)
    torch.manual_seed(1)
    first = train(CONFIG, inputs, validation, QUICK, seed=3)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)
    second = train(CONFIG, inputs, validation, QUICK, seed=3)
    assert same_weights(first.model, second.model)
    assert first.history == second.history
    assert not same_weights(first.model, train(CONFIG, inputs, validation, QUICK, seed=4).model)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_runs_on_a_device():
    """Law: on CUDA the same taste is learnt, and the model stays there."""
    trained = train(CONFIG, make_inputs(), make_inputs(32, 1), replace(QUICK, epochs=6), seed=0, device="cuda")
    assert max(epoch["auc"] for epoch in trained.history) > 0.95
    assert next(trained.model.parameters()).is_cuda


@pytest.mark.parametrize("loss", ["softmax", "bce"])
def test_only_the_seen_rows_count(loss):
    """Law: training on the rows `seen` is training on a table of those rows, with their users, alone."""
    sizes = {"word_dim": 8, "filters": 4, "query_dim": 4}
    config = replace(CONFIG, architecture="lstur", sizes=sizes, users=tuple(f"u{i}" for i in range(7)))
    inputs, seen, settings = make_inputs(), half(64, 0), replace(QUICK, loss=loss)
    alone = Inputs(inputs.impressions.subset(seen), inputs.views, inputs.users[seen])
    some = train(config, inputs, None, settings, seed=0, seen=seen)
    assert same_weights(some.model, train(config, alone, None, settings, seed=0).model)
    assert np.array_equal(some.seen, seen)
    assert not same_weights(some.model, train(config, inputs, None, settings, seed=0).model)


def test_early_stopping_keeps_the_best_weights(monkeypatch):
    """Law: training ends `patience` epochs after the best validation AUC and the best epoch's weights come back."""
    aucs, kept = iter([0.6, 0.8, 0.7, 0.8, 0.9]), []

    def scripted(model, inputs, batch_size):
        kept.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"auc": next(aucs)}

    monkeypatch.setattr(training, "evaluate", scripted)
    trained = train(CONFIG, make_inputs(), make_inputs(8, 1), replace(QUICK, epochs=5, patience=2), seed=0)
    assert [epoch["auc"] for epoch in trained.history] == [0.6, 0.8, 0.7, 0.8]
    assert all(torch.equal(value, kept[1][name]) for name, value in trained.model.state_dict().items())


def test_an_epoch_is_a_line_where_somebody_listens(capsys, monkeypatch):
    """Law: a line an epoch, with loss, metrics and seconds, and * where the AUC is the best so far; else silence."""
    told = iter([{"auc": 0.6, "mrr": 0.5, "ndcg@5": 0.4, "ndcg@10": 0.3}, {"auc": 0.5, "mrr": 0.7}, {"auc": 0.9}])
    monkeypatch.setattr(training, "evaluate", lambda *_: next(told))
    with telling():
        train(CONFIG, make_inputs(8), make_inputs(4, 1), QUICK, seed=0, desc="train clean")
    first, second, third = capsys.readouterr().out.splitlines()
    metrics = r"AUC 0.6000  MRR 0.5000  nDCG@5 0.4000  nDCG@10 0.3000"
    assert re.fullmatch(rf"train clean: epoch 1/3  loss \d\.\d{{4}}  {metrics}  \d+\.\d s \*", first)
    assert not second.endswith("*")
    assert third.endswith("*")
    train(CONFIG, make_inputs(8), None, QUICK, seed=0)
    assert capsys.readouterr().out == ""


def test_without_validation_the_last_weights_stay():
    """Law: all epochs run, and history holds the loss alone."""
    trained = train(CONFIG, make_inputs(), None, QUICK, seed=0)
    assert [list(epoch) for epoch in trained.history] == [["epoch", "loss"]] * 3


def test_frozen_parameters_stay_and_word_vectors_start():
    """Law: a frozen word embedding is, after training, the matrix it was given."""
    vectors = np.random.default_rng(0).normal(size=(10, 8)).astype(np.float32)
    config = replace(CONFIG, frozen=("word_embedding.*",))
    trained = train(config, make_inputs(), None, QUICK, seed=0, word_vectors=vectors)
    assert np.array_equal(trained.model.word_embedding.weight.detach().numpy(), vectors)


def test_half_is_a_random_half():
    """Law: half of the rows, each once, in order, decided by the seed."""
    rows = half(101, 0)
    assert len(rows) == 50
    assert rows.dtype == np.int64
    assert (np.diff(rows) > 0).all()
    assert rows.max() < 101
    assert np.array_equal(rows, half(101, 0))
    assert not np.array_equal(rows, half(101, 1))


def test_a_loss_that_diverges_is_named():
    """Law: a loss or gradient that is not finite ends the training with its epoch and step."""
    vectors = np.full((10, 8), 1e30, dtype=np.float32)
    with pytest.raises(NumericalError, match=r"training: epoch 1, step 1: the loss diverged. Got loss"):
        train(CONFIG, make_inputs(), None, QUICK, seed=0, word_vectors=vectors)


def test_trainings_that_cannot_begin():
    """Law: no rows, rows without another candidate, validation without an AUC, and nothing to train are refused."""
    inputs = make_inputs(4)
    with pytest.raises(DataError, match="no row to train on"):
        train(CONFIG, inputs, None, QUICK, seed=0, seen=np.array([], dtype=np.int64))
    single = replace(inputs.impressions, candidates=Ragged.of([[0]] * 4), labels=Ragged.of([[1]] * 4))
    with pytest.raises(DataError, match="lines 0-3: the row has no other candidate"):
        train(CONFIG, replace(inputs, impressions=single), None, QUICK, seed=0)
    with pytest.raises(DataError, match=r"validation: no row has both .* Got 4 rows"):
        train(CONFIG, inputs, replace(inputs, impressions=single), QUICK, seed=0)
    with pytest.raises(ConfigError, match="every parameter is frozen"):
        train(replace(CONFIG, frozen=("*",)), inputs, None, QUICK, seed=0)
    with pytest.raises(ConfigError, match="`loss` is not known"):
        train(CONFIG, inputs, None, replace(QUICK, loss="hinge"), seed=0)
