"""The Python names of the existing module, used as its README uses them."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from support import tiny
from support.theirs import write_theirs

import rec_trak
from rec_trak.errors import CheckpointError, ConfigError, RecTrakWarning, StoreError


@pytest.fixture
def world(tmp_path):
    """Tree, checkpoints and YAML content."""
    tiny.make_job(tmp_path)
    return tmp_path, yaml.safe_load(tiny.write_config(tmp_path).read_text())


def test_the_readme_example(world):
    """load, score, rank and plot, with the results that the scripts give."""
    from rec_trak import (
        compute_trak_scores,
        load_model,
        load_train_data,
        plot_score_distribution,
        rank_training_samples,
    )

    folder, config = world
    model_config = folder / "runs" / "model.json"
    model = load_model(folder / "runs" / "clean_0.pt", model_config)
    dataset, dataloader = load_train_data(config, model_config, "train_clean")
    results = compute_trak_scores(
        model=model, train_loader=dataloader, device="cpu", proj_dim=16, save_dir=folder / "trak"
    )
    ranking = rank_training_samples(scores=results["scores"], labels=results["labels"], top_k=5)
    plot_score_distribution(
        scores=results["scores"], labels=results["labels"], save_path=folder / "score_distribution.png"
    )
    assert (folder / "score_distribution.png").stat().st_size > 5000
    assert results["gradients"].shape == (len(dataset), 16)
    assert ranking["top_k_scores"][0] == results["scores"].max()
    np.testing.assert_allclose(np.load(folder / "trak" / "trak_scores.npy"), results["scores"], rtol=1e-6)

    from rec_trak.attribution.influence import self_influence
    from rec_trak.attribution.session import featurize

    job = tiny.make_job(folder)
    featurize(job)
    np.testing.assert_allclose(results["scores"], self_influence(job).scores, rtol=1e-6)
    full = pd.read_csv(folder / "trak" / "ranking_full.csv")
    assert full.loc[0, "score"] == pytest.approx(results["scores"].max(), rel=1e-6)


def test_loader_gives_every_row_in_order(world):
    """Iterating the loader passes each row once, in the order of the scores."""
    _, config = world
    dataset, loader = rec_trak.load_train_data(config, None, "train_clean")
    assert len(list(loader)) == len(loader) == -(-24 // config["batch_size"])
    assert sum(len(batch.user) for batch in loader) == len(dataset) == 24


@pytest.mark.filterwarnings("ignore::rec_trak.errors.RecTrakWarning")
def test_the_same_names_read_another_code_base(tmp_path):
    """A plm4newsrs checkpoint loads with its own settings; its words are those of the rows' articles."""
    tiny.write_tree(tmp_path / "data")
    theirs = write_theirs(tmp_path)
    settings, checkpoint = theirs / "m.yaml", theirs / "clean_0.ckpt"
    keys = {"checkpoints": None, "poisoned_model_checkpoint": str(checkpoint), "model_config": str(settings)}
    _, loader = rec_trak.load_train_data(tiny.write_config(tmp_path, **keys))
    with pytest.raises(ConfigError, match=r"made of the articles' words\. Got no `articles`, expected"):
        rec_trak.load_model(checkpoint, settings)
    model = rec_trak.load_model(checkpoint, settings, articles=loader.articles)
    results = rec_trak.compute_trak_scores(model, loader, "cpu", 16, tmp_path / "trak")

    from rec_trak.attribution.job import Run, read_job
    from rec_trak.attribution.session import featurize
    from rec_trak.runs.making import score_rows

    run = Run(loader.config, "train_clean", "poisoned")
    job = read_job(run)
    featurize(job)
    np.testing.assert_allclose(results["scores"], score_rows(run, job)[0].scores, rtol=1e-6)


def test_scorer_refuses_another_models_directory(world):
    """The store of one model is not reused for another."""
    folder, config = world
    _, loader = rec_trak.load_train_data(config, folder / "runs" / "model.json", "train_clean")
    for name, error in (("clean_0.pt", None), ("poisoned_0.pt", StoreError)):
        model = rec_trak.load_model(folder / "runs" / name, folder / "runs" / "model.json")
        scorer = rec_trak.TRAKScorer(model, "cpu", 16, save_dir=folder / "trak")
        if error is None:
            scorer.score_samples(loader)
        else:
            with pytest.raises(error, match=r"checkpoint 0 \(model in memory, with other weights\) differs"):
                scorer.score_samples(loader)


def test_scorer_is_one_member(world):
    """An ensemble needs its checkpoints."""
    folder, _ = world
    model = rec_trak.load_model(folder / "runs" / "clean_0.pt", folder / "runs" / "model.json")
    with pytest.raises(ConfigError, match="one model in memory is one member. Got `num_models` 3"):
        rec_trak.TRAKScorer(model, "cpu", num_models=3)


def test_every_public_name_loads():
    """`from rec_trak import X` works for all listed names, and only for them."""
    for name in rec_trak.__all__:
        assert callable(getattr(rec_trak, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rec_trak.nothing


def test_import_is_light():
    """`import rec_trak` itself loads neither torch nor matplotlib nor pandas."""
    code = "import sys, rec_trak; print([m for m in ('torch', 'matplotlib', 'pandas', 'trak') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_a_model_in_a_short_format_runs_in_float32(world):
    """Scores are those of the same rounded numbers in float32; the user's model keeps its format; NaN is named."""
    import torch

    folder, config = world
    model = rec_trak.load_model(folder / "runs" / "clean_0.pt", folder / "runs" / "model.json")
    _, loader = rec_trak.load_train_data(config)
    model.bfloat16()
    with pytest.warns(RecTrakWarning, match="TRAKScorer: the weights are bfloat16. The model runs in float32"):
        scorer = rec_trak.TRAKScorer(model, "cpu", 16, save_dir=folder / "short")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    plain = rec_trak.TRAKScorer(model.float(), "cpu", 16, save_dir=folder / "plain").score_samples(loader)
    np.testing.assert_array_equal(scorer.score_samples(loader)["scores"], plain["scores"])
    with torch.no_grad():
        model.word_embedding.weight[2, 0] = float("nan")
    with pytest.raises(CheckpointError, match="model in memory: tensor `word_embedding.weight` holds NaN or Inf"):
        rec_trak.TRAKScorer(model, "cpu", 16, save_dir=folder / "nan").score_samples(loader)


def test_load_model_reads_what_frameworks_wrap(world):
    """The same parameters from a wrapped file in a short format, and a word on what it lacks and holds beside."""
    import torch

    folder, _ = world
    state = torch.load(folder / "runs" / "clean_0.pt")
    wrapped = {"state_dict": {f"net.{n}": t.half() for n, t in state.items()} | {"loss.weight": torch.ones(1)}}
    torch.save(wrapped, folder / "runs" / "wrapped.ckpt")
    with pytest.warns(RecTrakWarning) as said:
        model = rec_trak.load_model(folder / "runs" / "wrapped.ckpt", folder / "runs" / "model.json")
    assert ["loss.weight" in str(said[0].message), "are float16" in str(said[1].message)] == [True, True]
    assert all(torch.equal(t, state[n].half().float()) for n, t in model.state_dict().items())
