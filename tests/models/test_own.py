"""A model of the user's own, named in the YAML, goes through the whole job; whatever is wrong with it is one line."""

import dataclasses
import importlib
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from support import ROOT, tiny
from support.commands import call, succeed
from torch import nn

from rec_trak.api import load_train_data
from rec_trak.attribution.estimate import estimate
from rec_trak.attribution.influence import self_influence
from rec_trak.attribution.job import Run, fingerprint, read_job
from rec_trak.attribution.session import featurize
from rec_trak.clicks import row_loss
from rec_trak.config.analysis import analysis_config, read_analysis_config
from rec_trak.config.model import read_model_config
from rec_trak.data.articles import build_vocabulary, read_news_items
from rec_trak.data.batches import pair_batch
from rec_trak.errors import CheckpointError, ConfigError, RecTrakWarning, StoreError
from rec_trak.gradients.computers import make_batch
from rec_trak.gradients.preflight import choose_gradient
from rec_trak.models.build import build_model
from rec_trak.models.own import build_own, read_own_config
from rec_trak.sketch.projectors import make_projector
from rec_trak.store.reading import read_member

EXAMPLE = ROOT / "examples" / "own_model.py"
OWN = {"model": {"class": "theirs:TwoTower", "args": {"words": 30, "dim": 4}}, "forward": "theirs:scores"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The working directory, with a tree and the user's modules; imports leave no trace."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    shutil.copy(EXAMPLE, tmp_path)
    shutil.copy(ROOT / "tests" / "support" / "their_models.py", tmp_path / "theirs.py")
    (tmp_path / "broken.py").write_text("import a_package_that_is_not_there\n", encoding="utf-8")
    importlib.invalidate_caches()
    tiny.write_tree(tmp_path / "data")
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("own_model", "theirs", "broken", "examples"):
            del sys.modules[name]


def write_own(home, train=False, **keys):
    """A model.json without an architecture, checkpoints saved as plain torch does, and the YAML."""
    words = build_vocabulary(read_news_items(home / "data" / "news_items.csv"), "regex", ("title",))
    (home / "runs").mkdir(exist_ok=True)
    settings = {"views": ["title"], "text": {"words": words, "title_length": 6}, "max_history": 4}
    (home / "runs" / "model.json").write_text(json.dumps(settings), encoding="utf-8")
    config = tiny.write_config(home, **(OWN | keys))
    for i, name in enumerate(("clean_0", "poisoned_0")):
        torch.manual_seed(i)
        inner = build_own(read_analysis_config(config).model).inner
        if train:
            train_plainly(inner, config)
        torch.save(inner.state_dict(), home / "runs" / f"{name}.pt")
    return config


def train_plainly(model, config):
    """A few steps by the user's own loop."""
    import theirs

    _, loader = load_train_data(config)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(5):
        for batch in loader:
            optimiser.zero_grad()
            row_loss("softmax", theirs.scores(model, batch), batch).mean().backward()
            optimiser.step()


def own_job(home, **keys):
    return read_job(Run(read_analysis_config(write_own(home, **keys)), "train_clean", "clean"))


def test_own_model_goes_through_the_scripts(home):
    """The example, trained by plain torch, is featurized, scored and ranked; a second run computes nothing."""
    config = write_own(home, train=True, targets={"mixed": "data/benchmarks/benchmark_mixed.csv"})
    flags = ("--config", config)
    said = succeed("featurize", *flags, folder=home)
    assert "gradient path: factored" in said
    assert "featurized 0 rows" in succeed("featurize", *flags, folder=home)
    assert "effective dimension" in succeed("score", *flags, folder=home)
    assert "targets" in succeed("score", *flags, "--targets", "mixed", folder=home)
    folder = home / "results" / "clean_train_clean"
    scores = np.load(folder / "trak_scores.npy")
    assert np.isfinite(scores).all()
    assert scores.std() > 0
    ranking = pd.read_csv(folder / "ranking_full.csv")
    np.testing.assert_allclose(ranking["score"], np.sort(scores)[::-1], rtol=1e-5)
    assert json.loads((folder / "metadata.json").read_text())["config"]["forward"] == "theirs:scores"


def test_example_yaml_names_the_example(monkeypatch, home):
    """configs/trak/own.yaml names what is there."""
    monkeypatch.chdir(EXAMPLE.parents[1])
    config = read_analysis_config("configs/trak/own.yaml")
    model = build_own(config.model, config.forward)
    assert type(model.inner).__name__ == "TwoTower"
    assert sum(p.numel() for p in model.parameters()) == 20_000 * 32 + 2 * (32 * 32 + 32)


def test_names_are_those_of_the_users_checkpoint(home):
    """Parameters, buffers and state dict carry no prefix, loading reaches the user's model, modes and dtypes too."""
    own = build_own({"class": "theirs:InParts", "args": {"words": 5}})
    inner = own.inner
    inner.register_buffer("kept", torch.zeros(2))
    assert (
        [n for n, _ in own.named_parameters()] == [n for n, _ in inner.named_parameters()] == ["scale", "words.weight"]
    )
    assert list(own.state_dict()) == list(inner.state_dict()) == ["scale", "kept", "words.weight"]
    state = {name: torch.full_like(value, 7) for name, value in inner.state_dict().items()}
    own.load_state_dict(state)
    assert all((value == 7).all() for value in inner.state_dict().values())
    own.eval()
    assert not inner.training
    assert not inner.words.training
    assert own.train().inner.training
    own.double()
    assert {p.dtype for p in inner.parameters()} == {torch.float64}


@pytest.mark.parametrize(("name", "path"), [("InParts", "factored"), ("InParts", "articles"), ("Squeezed", "loop")])
def test_without_forward_the_model_takes_the_batch(home, name, path):
    """Stored features and Q are those of plain autograd by the user's own code, whatever the path."""
    arguments = {"words": 30} | ({"dim": 4} if name == "Squeezed" else {})
    gradient = path if path == "articles" else "auto"
    job = own_job(home, model={"class": f"theirs:{name}", "args": arguments}, forward=None, gradient=gradient)
    assert estimate(job).gradient.name == path
    done = featurize(job)
    assert done.gradient.name == path
    parameters, grads, margins = dict(job.model.inner.named_parameters()), [], []
    for row in range(len(job.inputs)):
        scores = job.model.inner(pair_batch(job.inputs, [row, row])[0])[0]
        margins.append(scores[0] - torch.logsumexp(scores[1:], 0))
        grads.append(torch.autograd.grad(margins[-1], list(parameters.values()), retain_graph=True))
    exact = {name: torch.stack(parts) for name, parts in zip(parameters, zip(*grads, strict=True), strict=True)}
    projector = make_projector(job.projector, job.parameter_count, job.proj_dim, job.seed, "cpu")
    expected = projector.project(exact, 0).numpy() / job.parameter_count**0.5
    features, q = read_member(job.save_dir, 0)
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(q, torch.sigmoid(-torch.stack(margins).detach()), rtol=1e-4)


def test_encode_and_score_get_pairs_unless_a_forward_is_given(home):
    """A model in two parts is fed pairs without padding; a `forward` decides instead of its parts."""
    job = own_job(home, model={"class": "theirs:InParts", "args": {"words": 30}}, forward=None)
    rows = np.arange(3)
    assert make_batch("factored", job.model, job.inputs, rows, "cpu").groups
    called = build_own({"class": "theirs:InParts", "args": {"words": 30}}, "theirs:scores")
    assert not make_batch("factored", called, job.inputs, rows, "cpu").groups


def test_settings_say_how_articles_become_integers(home):
    """`architecture` and `sizes` may be left out, or are not read; the rest is as for our models."""
    job = own_job(home)
    assert job.model_config.max_history == 4
    assert job.inputs.impressions.history.lengths.max() <= 4
    tiny.write_models(home / "ours", home / "data")
    config = read_own_config(home / "ours" / "model.json", OWN["model"], None)
    assert (config.architecture, config.sizes) == ("own", {"model": OWN["model"], "forward": None})
    assert config.text == read_model_config(home / "ours" / "model.json").text


def test_frozen_patterns_hold_for_own_models(home):
    """`frozen` of the settings counts; a pattern without a match is refused."""
    write_own(home)
    settings = json.loads((home / "runs" / "model.json").read_text())
    (home / "runs" / "model.json").write_text(json.dumps(settings | {"frozen": ["words.*"]}), encoding="utf-8")
    job = read_job(Run(read_analysis_config(home / "trak.yaml"), "train_clean", "clean"))
    assert job.grad_wrt == ["title.weight", "title.bias", "user.weight", "user.bias"]
    (home / "runs" / "model.json").write_text(json.dumps(settings | {"frozen": ["towers.*"]}), encoding="utf-8")
    with pytest.raises(ConfigError, match="model own: `frozen` pattern `towers.*` matches no parameter"):
        read_job(Run(read_analysis_config(home / "trak.yaml"), "train_clean", "clean"))


def test_store_knows_class_arguments_and_forward(home):
    """A store is of one class, its arguments and its function; another one is refused by name."""
    first = fingerprint(own_job(home))["features"]
    second = fingerprint(own_job(home, model={"class": "theirs:TwoTower", "args": {"words": 31, "dim": 4}}))["features"]
    assert {key for key in first if first[key] != second[key]} == {"model_config"}


def test_no_settings_file_names_a_class(home):
    """A model.json that came with a checkpoint imports nothing, whatever it says."""
    write_own(home)
    settings = json.loads((home / "runs" / "model.json").read_text())
    named = settings | {"architecture": "own", "sizes": {"model": {"class": "theirs:TwoTower"}, "forward": None}}
    (home / "runs" / "model.json").write_text(json.dumps(named), encoding="utf-8")
    config = read_analysis_config(tiny.write_config(home))
    with pytest.raises(ConfigError, match="`architecture` is not a known value. Got 'own', expected one of nrms"):
        read_job(Run(config, "train_clean", "clean"))


def test_checkpoint_of_another_model_is_refused(home):
    """Names and shapes must be those of the class, strictly."""
    write_own(home)
    torch.save(nn.Linear(2, 2).state_dict(), home / "runs" / "clean_0.pt")
    with pytest.raises(CheckpointError, match="does not fit the model: 5 missing .*; 2 unexpected"):
        read_job(Run(read_analysis_config(home / "trak.yaml"), "train_clean", "clean"))


def test_checkpoints_as_frameworks_wrap_them(home):
    """The user's own class takes its weights behind any prefix, beside others, and in any number format."""
    expected = own_job(home).members[0]
    state = torch.load(home / "runs" / "clean_0.pt")
    wrapped = {"n_averaged": torch.tensor(3)} | {f"net.module.{name}": tensor for name, tensor in state.items()}
    torch.save({"ema": wrapped, "epoch": 3}, home / "runs" / "clean_0.pt")
    config = read_analysis_config(home / "trak.yaml")
    assert read_job(Run(config, "train_clean", "clean")).members[0].digest == expected.digest
    torch.save(state | {"criterion.weight": torch.ones(1)}, home / "runs" / "clean_0.pt")
    with pytest.warns(RecTrakWarning, match=r"clean_0\.pt: 1 name\(s\) are no parameter .*criterion\.weight"):
        job = read_job(Run(config, "train_clean", "clean"))
    assert job.members[0].digest == expected.digest
    assert job.members[0].state_dict().keys() == state.keys()


def test_a_class_in_bfloat16_runs_in_float32(home):
    """A class that makes itself in a short format is run in float32 with a word, gradients too."""
    text = (home / "theirs.py").read_text(encoding="utf-8")
    short = "\n\ndef short(words):\n    return InParts(words).bfloat16()\n"
    (home / "theirs.py").write_text(text + short, encoding="utf-8")
    config = write_own(home, model={"class": "theirs:short", "args": {"words": 30}}, forward=None)
    with pytest.warns(RecTrakWarning, match="`model`: the weights are bfloat16. The model runs in float32"):
        job = read_job(Run(read_analysis_config(config), "train_clean", "clean"))
    assert {p.dtype for p in job.model.parameters()} == {torch.float32}
    featurize(job)
    assert np.isfinite(read_member(job.save_dir, 0)[0]).all()


def test_view_without_a_vocabulary_is_refused(home):
    """Without words every word would be the unknown one."""
    config = read_own_config_of(home, {"views": ["category"]})
    with pytest.raises(ConfigError, match="model own: view `category` has nothing to look up"):
        build_model(config)


def read_own_config_of(home, settings):
    (home / "some.json").write_text(json.dumps(settings), encoding="utf-8")
    return read_own_config(home / "some.json", OWN["model"], None)


@pytest.mark.parametrize(
    ("model", "forward", "message"),
    [
        ({"args": {}}, None, r"t.yaml: `model`: `class` is missing. Got \['args'\]"),
        ({"class": "theirs:TwoTower", "kwargs": {}}, None, r"1 unknown key\(s\) \(kwargs\)"),
        ({"class": "theirs:TwoTower", "args": [1]}, None, r"`model.args` has the wrong type. Got \[1\]"),
        ({"class": "theirs:TwoTower", "args": {"words": {1}}}, None, "`model.args` has the wrong type"),
        ({"class": "theirs.TwoTower"}, None, "`model.class` is not a name to import. Got 'theirs.TwoTower'"),
        ({"class": 3}, None, "`model.class` is not a name to import. Got 3"),
        ({"class": "../theirs:TwoTower"}, None, "`model.class` is not a name to import"),
        ({"class": "thiers:TwoTower"}, None, "`thiers` cannot be imported. Got ModuleNotFoundError: No module named"),
        ({"class": "broken:Net"}, None, "`broken` cannot be imported. Got .* 'a_package_that_is_not_there'"),
        ({"class": "theirs:TwoTowr"}, None, "`theirs` has no class or function `TwoTowr`.* Did you mean `TwoTower`"),
        ({"class": "theirs:A_NUMBER"}, None, "no class or function `A_NUMBER`. Got int"),
        ({"class": "theirs:NoModel"}, None, "theirs:NoModel gives no model. Got NoModel"),
        ({"class": "theirs:TwoTower", "args": {"word": 3}}, None, "cannot be built. Got TypeError: .*'word'.*Mend"),
        ({"class": "theirs:Raises"}, None, "cannot be built. Got RuntimeError: no such file: vectors.bin"),
        (OWN["model"], "theirs:score", "`forward`: `theirs` has no class or function `score`.*`scores`"),
        (OWN["model"], "theirs", "`forward` is not a name to import. Got 'theirs'"),
        (OWN["model"], "nowhere:scores", "`forward`: `nowhere` cannot be imported"),
    ],
)
def test_what_cannot_be_built_is_one_line(home, model, forward, message):
    """Whatever is wrong with the names, the module, the class or its arguments, in one line that says where."""
    with pytest.raises(ConfigError, match=message) as error:
        build_own(model, forward, "t.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "wide",
            r"`forward`: what it returns are no scores. Got torch.float32 of shape \(1, \d, 1\), expected .*\(1, \d\)",
        ),
        ("whole", r"`forward`: what it returns are no scores. Got torch.int64 of shape"),
        ("nothing", r"`forward`: what it returns are no scores. Got NoneType"),
        ("without_graph", r"the model fails on row \d+ \(.*\). Got RuntimeError: .*does not require grad"),
    ],
)
def test_scores_of_another_kind_are_refused(home, function, message):
    """Shape, type and graph are checked before anything is written, in one line."""
    job = own_job(home, forward=f"theirs:{function}")
    with pytest.raises(ConfigError, match=message) as error:
        featurize(job)
    assert "\n" not in str(error.value)
    assert not job.save_dir.exists()


def test_script_prints_one_line(home):
    """A wrong name ends with exit code 2 and no traceback."""
    write_own(home)
    config = tiny.write_config(home, **(OWN | {"model": {"class": "theirs:Tower"}}))
    result = call("featurize", "--config", config, folder=home)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "Did you mean `TwoTower`?" in result.stderr


def test_forward_alone_is_refused():
    """A function without a model has nothing to call."""
    needed = {"model_config": "m.json", "data_path": "d", "output_dir": "o"}
    with pytest.raises(ConfigError, match="`forward` needs a model to call. Got 'a:b' without `model`"):
        analysis_config(needed | {"forward": "a:b"})


def test_code_base_of_others_is_refused(home):
    """A class of the user's own has its own names."""
    with pytest.raises(ConfigError, match="Got `code_base` plm4newsrs, expected rec_trak or auto"):
        own_job(home, code_base="plm4newsrs")


def test_the_example_ranks_from_python(home):
    """examples/own_model.py gives the scripts' scores, with the model loaded, or in memory and bare."""
    from rec_trak.api import compute_trak_scores, load_model

    config = write_own(home, model={"class": "own_model:TwoTower", "args": {"words": 30, "dim": 4}})
    own_model = sys.modules["own_model"]
    checkpoint = home / "runs" / "clean_0.pt"
    ranked = own_model.rank(config, checkpoint, home / "trak", top_k=3)
    scores = np.load(home / "trak" / "trak_scores.npy")
    assert [row for row, *_ in ranked] == np.argsort(-scores, kind="stable")[:3].tolist()
    _, loader = load_train_data(config)
    bare = own_model.TwoTower(words=30, dim=4)
    bare.load_state_dict(torch.load(checkpoint))
    again = compute_trak_scores(bare, loader, "cpu", 512, home / "again")
    np.testing.assert_allclose(again["scores"], scores, rtol=1e-5)
    assert type(load_model(checkpoint, analysis=config).inner) is own_model.TwoTower
    job = read_job(Run(dataclasses.replace(loader.config, proj_dim=512), "train_clean", "clean"))
    featurize(job)
    np.testing.assert_allclose(self_influence(job).scores, scores, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"not what `model\.class` names\. Got Linear, expected own_model:TwoTower"):
        compute_trak_scores(nn.Linear(2, 2), loader, "cpu", 16, home / "other")


KNOWING = """

class Knowing(nn.Module):
    def __init__(self, things, dim):
        super().__init__()
        self.things, self.map = nn.Embedding(things, 3), nn.Linear(dim, 3)

    def forward(self, batch):
        views = batch.articles
        vectors = torch.tanh(self.things(views["things"]).sum(1) + self.map(views["vector"]))
        user = (vectors[batch.history] * batch.history_mask.unsqueeze(-1)).sum(1)
        return (vectors[batch.candidates] @ user.unsqueeze(-1)).squeeze(-1)


def split(text):
    return [1 + sum(map(ord, word)) % 28 for word in text.split()]
"""


def write_knowing(home):
    """A model without texts, and the arrays that it reads, by id."""
    (home / "theirs.py").write_text((home / "theirs.py").read_text() + KNOWING, encoding="utf-8")
    rng, ids = np.random.default_rng(0), [f"n{i}" for i in range(12)]
    things, vector = rng.integers(1, 9, (12, 2)), rng.standard_normal((12, 4)).astype(np.float32)
    np.savez(home / "known.npz", article_id=np.array(ids[::-1]), things=things[::-1], vector=vector[::-1])
    config = write_own(
        home,
        model={"class": "theirs:Knowing", "args": {"things": 9, "dim": 4}},
        forward=None,
        article_ids="known.npz",
        targets={"mixed": "data/benchmarks/benchmark_mixed.csv"},
    )
    (home / "runs" / "model.json").write_text(json.dumps({"views": [], "max_history": 4}), encoding="utf-8")
    return config, things, vector


def test_a_model_of_ids_and_vectors_goes_through_the_scripts(home):
    """Every gradient path gives the features of plain autograd on the user's own arrays; coverage is told; another
    array is another store."""
    config, things, vector = write_knowing(home)
    said = succeed("featurize", "--config", config, folder=home)
    assert "articles in known.npz 100 % (12 of 12)" in said
    succeed("score", "--config", config, folder=home)
    succeed("score", "--config", config, "--targets", "mixed", folder=home)
    run = Run(read_analysis_config(config), "train_clean", "clean")
    job = read_job(run)
    features, _ = read_member(job.save_dir, 0)
    parameters, inner = dict(job.model.inner.named_parameters()), job.model.inner
    inner.load_state_dict(torch.load(home / "runs" / "clean_0.pt"))
    vectors = torch.tanh(inner.things(torch.from_numpy(things)).sum(1) + inner.map(torch.from_numpy(vector)))
    rows, grads = job.inputs.impressions, []
    for row in range(len(rows)):
        scores = vectors[rows.candidates[row]] @ vectors[rows.history[row]].sum(0)
        f = scores[0] - torch.logsumexp(scores[1:], 0)
        grads.append(torch.autograd.grad(f, list(parameters.values()), retain_graph=True))
    exact = {name: torch.stack(parts) for name, parts in zip(parameters, zip(*grads, strict=True), strict=True)}
    projector = make_projector(job.projector, job.parameter_count, job.proj_dim, job.seed, "cpu")
    expected = projector.project(exact, 0).numpy() / job.parameter_count**0.5
    np.testing.assert_allclose(features, expected, atol=1e-5 * np.abs(expected).max())
    for path in ("factored", "functional", "loop"):
        assert choose_gradient(path, job.model, "softmax", job.inputs, job.grad_wrt, 7, "cpu").name == path
    np.savez(home / "known.npz", article_id=[f"n{i}" for i in range(12)], things=things, vector=vector + 1)
    with pytest.raises(StoreError, match="articles"):
        featurize(read_job(run))


def test_a_tokeniser_of_ones_own_counts(home):
    """Only where the YAML names it; the store knows; models with words of another kind refuse it, and so are arrays."""
    write_knowing(home)
    plain = fingerprint(own_job(home))["features"]
    job = own_job(home, tokeniser="theirs:split")
    assert job.model_config.text.tokeniser == "theirs:split"
    first = [1 + sum(map(ord, word)) % 28 for word in job.articles.titles[0].split()[:6]]
    assert job.inputs.views["title"][0][: len(first)].tolist() == first
    told = fingerprint(job)["features"]
    assert {key for key in plain if plain[key] != told[key]} == {"model_config", "articles"}
    tiny.write_models(home / "ours", home / "data")
    ours = {"model": None, "forward": None, "model_config": "ours/model.json", "checkpoints": "ours/clean_0.pt"}
    config = read_analysis_config(tiny.write_config(home, **ours, article_ids="known.npz"))
    with pytest.raises(ConfigError, match="`article_ids`: nrms reads texts and topics alone"):
        read_job(Run(config, "train_clean", "clean"))
    settings = json.loads((home / "runs" / "model.json").read_text())
    settings["text"] |= {"tokeniser": "pretrained", "pretrained": "somewhere"}
    (home / "runs" / "model.json").write_text(json.dumps(settings))
    config = read_analysis_config(tiny.write_config(home, **OWN, tokeniser="theirs:split"))
    with pytest.raises(ConfigError, match=r"`tokeniser`: the model's settings say .*`text\.tokeniser: pretrained`"):
        read_job(Run(config, "train_clean", "clean"))
    settings["text"]["tokeniser"] = "theirs:split"
    (home / "runs" / "model.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="`tokeniser` is not a known value"):
        read_job(Run(config, "train_clean", "clean"))
