"""A finished run judged: which rankings, from which files, and every refusal."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from support import finished
from support.commands import call, fail
from support.marked import mark_again

from rec_trak.errors import DataError, NumericalError, StoreError
from rec_trak.results.files import read_results
from rec_trak.store.manifest import digest
from rec_trak.trust.measures import measure
from rec_trak.trust.run import MEAN, OWN, SINGLE, trust_lines, trust_run, write_trust

SET = "benchmark_mixed"
NAMES = [OWN, MEAN.format(SET), SINGLE.format(SET)]
pytestmark = pytest.mark.filterwarnings("ignore:.*the model was trained with 'softmax'")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run of three members, to be read only."""
    return finished.finished_run(tmp_path_factory.mktemp("run"), members=3)


@pytest.fixture
def own(tmp_path):
    """A finished run of the test's own, one member."""
    return finished.finished_run(tmp_path)


def arrays(folder, members):
    """Gradients, Q and target gradients of each member of the store."""
    places = [folder / "store" / str(i) for i in range(members)]
    return [[np.load(place / name) for place in places]
            for name in ("grads.mmap", "out_to_loss.mmap", f"{SET}_grads.mmap")]  # fmt: skip


def change(path, **keys):
    """Put other values into a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | keys), encoding="utf-8")


def test_every_ranking_is_judged_on_the_stored_gradients(folder):
    """Self-influence, the mean over the set, and its single targets, with the numbers of `measure`; the law holds."""
    content = trust_run(folder, seed=3)
    assert [one["ranking"] for one in content["rankings"]] == NAMES
    assert [one["folder"] for one in content["rankings"]] == ["", f"targets/{SET}", f"targets/{SET}"]
    phis, qs, tops = arrays(folder, 3)
    apart = [None, [top.mean(axis=0, keepdims=True) for top in tops], tops]
    for one, targets in zip(content["rankings"], apart, strict=True):
        wanted = measure(phis, qs, targets, 1.0, seed=3)
        for name in ("larger_ridge", "smaller_ridge", "dot_product", "checkpoint_half", "mean_leverage", "members"):
            assert one[name] == pytest.approx(getattr(wanted, name), rel=1e-5), name
    assert content["law"] < 1e-4
    assert content["rankings"][0]["law"] == content["law"]
    assert content["rankings"][0]["scores"] == digest(read_results(folder).scores)


def test_one_seed_gives_one_answer(folder):
    """The same seed, the same content; another one, other splits."""
    assert trust_run(folder, seed=1) == trust_run(folder, seed=1)
    assert trust_run(folder, seed=1)["rankings"] != trust_run(folder, seed=2)["rankings"]


def test_files_stand_beside_the_scores_they_judge(folder, tmp_path):
    """All rankings in the results folder; a target set's own in its folder."""
    shutil.copytree(folder, tmp_path / "run")
    content = trust_run(tmp_path / "run")
    paths = write_trust(tmp_path / "run", content)
    assert [str(path.relative_to(tmp_path / "run")) for path in paths] == [
        "trust.csv", "trust.json", f"targets/{SET}/trust.csv", f"targets/{SET}/trust.json",
    ]  # fmt: skip
    assert pd.read_csv(paths[0])["ranking"].tolist() == NAMES
    assert pd.read_csv(paths[2])["ranking"].tolist() == NAMES[1:]
    assert json.loads(paths[1].read_text()) == json.loads(json.dumps(content))
    assert [one["ranking"] for one in json.loads(paths[3].read_text())["rankings"]] == NAMES[1:]


def test_lines_say_what_would_improve_a_ranking(folder):
    """A line a ranking with word and reason; the law, the rows of highest leverage and what cannot be seen follow."""
    content = trust_run(folder)
    lines = trust_lines(content)
    for one, line in zip(content["rankings"], lines, strict=False):
        assert line.startswith(f"{one['ranking']}: {one['verdict']}: {one['reason']}.")
        assert one["improvement"] in line
    assert lines[3].startswith("Q grad f = - grad L: off by ")
    assert lines[4].startswith("highest leverage: row ")
    assert lines[5].startswith("note: No number here sees")
    h = read_results(folder).rows["leverage"].astype(float)
    assert [row["leverage"] for row in content["dominating"]] == h.sort_values(ascending=False)[:5].tolist()


def test_one_member_is_never_stable(own):
    """What another training would repeat cannot be judged, and that is said."""
    content = trust_run(own)
    for one in content["rankings"]:
        assert one["verdict"] != "stable"
        assert one["checkpoint_half"] is None
        assert "one member" in " ".join([one["reason"], *one["notes"]])


def test_one_target_has_one_ranking(tmp_path):
    """Of a set of one target, the mean is that target's: it is judged once."""
    finished.finished_run(tmp_path)
    lines = finished.read(tmp_path / "data" / "benchmarks" / f"{SET}.csv")
    user = lines[0]["user_id"]
    finished.write(tmp_path / "one.csv", [line for line in lines if line["user_id"] == user])
    folder = finished.score(tmp_path, str(tmp_path / "one.csv"))
    names = [one["ranking"] for one in trust_run(folder)["rankings"]]
    assert names == [*NAMES, MEAN.format("one")]


def test_the_loss_gradients_leverage_is_judged_as_it_was_scored(tmp_path):
    """A run scored by the loss gradient is measured with gradients times Q."""
    folder = finished.finished_run(tmp_path, members=2, score="loss_gradient")
    phis, qs, _ = arrays(folder, 2)
    weights = [q.reshape(-1).astype(float) for q in qs]
    wanted = measure(phis, [np.ones(24)] * 2, None, 1.0, weights=weights)
    assert trust_run(folder)["rankings"][0]["larger_ridge"] == pytest.approx(wanted.larger_ridge, rel=1e-5)


def test_targets_of_another_ridge_are_left_aside_by_name(tmp_path):
    """They are of another scoring than the self-influence that they lie beside."""
    folder = finished.finished_run(tmp_path)
    told = folder / "targets" / SET / "metadata.json"
    change(told, score=json.loads(told.read_text())["score"] | {"lambda_rel": 7.0})
    content = trust_run(folder)
    assert [one["ranking"] for one in content["rankings"]] == ["self-influence"]
    assert f"targets/{SET} left aside: scored with another `lambda_rel`" in trust_lines(content)[-1]


def test_several_rows_of_an_impression_need_the_data(tmp_path):
    """With BCE, rows are added up by the data's impressions; without the data, that is refused."""
    folder = finished.finished_run(tmp_path, members=2, loss="bce")
    content = trust_run(folder)
    assert content["rankings"][0]["rows"] == 24
    assert content["law"] < 1e-4
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="data: no such file"):
        trust_run(folder)


def test_without_the_data_the_law_alone_is_missing(own, tmp_path):
    """Everything else is judged from the store; why the law is not is said."""
    before = trust_run(own)["rankings"][0]
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    content = trust_run(own)
    assert content["law"] is None
    assert "runs" in content["law_told"]
    assert content["rankings"][0] | {"law": before["law"]} == before
    assert "not checked" in trust_lines(content)[3]


def test_a_stored_q_that_is_not_the_losses_is_found(own):
    """Q of another model breaks the law, and no ranking may be used."""
    q = np.lib.format.open_memmap(own / "store" / "0" / "out_to_loss.mmap", mode="r+")
    q[:] = 1 - q[:]
    q.flush()
    mark_again(own / "store")
    content = trust_run(own)
    assert content["law"] > 0.05
    assert {one["verdict"] for one in content["rankings"]} == {"do not use"}
    assert "the stored Q is not the loss's" in content["rankings"][0]["reason"]


def test_what_is_missing_or_does_not_fit_is_refused(own, tmp_path):
    """No scores, sets of other members, targets, members or a store that are gone, another run's, too few rows."""
    told = own / "targets" / SET / "metadata.json"
    kept = told.read_text()
    change(told, members=[])
    assert "left aside: scored with another `checkpoints`" in trust_run(own)["left_aside"][0]
    told.write_text(kept)
    targets = own / "store" / "0" / f"{SET}_grads.mmap"
    targets.rename(tmp_path / "targets")
    with pytest.raises(StoreError, match=rf"{SET}_grads.mmap: no such file. .* \(11, 16\). .*--targets {SET}"):
        trust_run(own)
    np.lib.format.open_memmap(targets, mode="w+", shape=(2, 16), dtype=np.float32)
    with pytest.raises(StoreError, match=r"damaged. Got shape \(2, 16\) of float32, expected \(11, 16\)"):
        trust_run(own)
    (tmp_path / "targets").replace(targets)
    (own / "store" / "0" / "grads.mmap").rename(tmp_path / "grads")
    with pytest.raises(StoreError, match=r"0/grads.mmap: no such file"):
        trust_run(own)
    (own / "store").rename(tmp_path / "away")
    with pytest.raises(StoreError, match="no gradients there"):
        trust_run(own)
    (tmp_path / "away").rename(own / "store")
    features = json.loads((own / "metadata.json").read_text())["features"]
    change(own / "metadata.json", features=features | {"proj_dim": 8})
    with pytest.raises(StoreError, match="made by another run, `proj_dim` differs"):
        trust_run(own)
    (own / "trak_scores.npy").unlink()
    with pytest.raises(DataError, match="not a finished run, trak_scores.npy missing"):
        trust_run(own)


def test_few_rows_and_numbers_that_are_not_finite_are_refused(tmp_path):
    """Nine rows say nothing; NaN in the store is named by its row."""
    folder = finished.finished_run(tmp_path / "few", rows=9)
    with pytest.raises(DataError, match="too little to compare. Got 9 rows"):
        trust_run(folder)
    folder = finished.finished_run(tmp_path / "nan")
    grads = np.lib.format.open_memmap(folder / "store" / "0" / "grads.mmap", mode="r+")
    grads[3, 0] = np.nan
    grads.flush()
    mark_again(folder / "store")
    with pytest.raises(NumericalError, match="not finite in row 3"):
        trust_run(folder)


def test_the_command(folder, tmp_path):
    """A line a ranking, the paths, and an error as one line with exit 2."""
    shutil.copytree(folder, tmp_path / "run")
    result = call("trust", "--results_dir", tmp_path / "run", "--seed", 1)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines[:3]] == NAMES
    assert lines[-1].endswith(f"targets/{SET}/trust.json")
    assert "not a finished run" in fail("trust", "--results_dir", tmp_path)
