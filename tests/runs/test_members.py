"""Members' scores read back from finished runs, a null band from them, and every reason why there is none."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import tiny
from support.marked import mark_again, sum_again

from rec_trak.attribution.job import Run, read_job
from rec_trak.attribution.session import featurize
from rec_trak.comparison.null_band import null_band
from rec_trak.comparison.run import compare_runs
from rec_trak.config.analysis import read_analysis_config
from rec_trak.errors import DataError, NumericalError, StoreError
from rec_trak.results.files import read_results
from rec_trak.runs.finished import FinishedRun, open_run
from rec_trak.runs.making import score_rows, score_targets
from rec_trak.store.reading import read_member

MEMBERS = 3


def finish(folder: Path, kind: str, targets: bool = False, **keys) -> Path:
    """The results folder of one kind's checkpoints on its clicks."""
    run = Run(read_analysis_config(tiny.write_config(folder, **keys)), f"train_{kind}", kind)
    job = read_job(run)
    featurize(job)
    score_rows(run, job)
    if targets:
        score_targets(run, job, str(folder / "data" / "benchmarks" / "benchmark_mixed.csv"))
    return run.folder


def tree(folder: Path, count: int = MEMBERS) -> Path:
    tiny.write_tree(folder / "data")
    tiny.write_models(folder / "runs", folder / "data", members=count)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    """A clean and a poisoned run of three members each; tests do not change them."""
    folder = tree(tmp_path_factory.mktemp("members"))
    return finish(folder, "clean", targets=True), finish(folder, "poisoned")


@pytest.fixture
def run(tmp_path) -> Path:
    """A clean run of two members, for tests that change it."""
    return finish(tree(tmp_path, 2), "clean")


def change(run: Path, **keys) -> None:
    """Put other values into a run's metadata.json."""
    path = run / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.mark.parametrize("keys", [{}, {"score": "loss_gradient"}, {"loss": "bpr"}, {"loss": "bce"}])
def test_all_members_together_give_the_scores_of_the_run(tmp_path, keys):
    """Law: whatever loss and form, the mean over all members read back is what the run was ranked by."""
    folder = finish(tree(tmp_path, 2), "clean", **keys)
    results = read_results(folder)
    found = open_run(results.folder).members()
    assert len(found) == 2
    assert found.scores([0, 1]) == pytest.approx(results.scores, rel=1e-4)


def test_a_member_alone_is_scored_as_a_run_of_it_would(runs):
    """Law: one member's scores are its Q h, with h by ten lines of numpy."""
    results = read_results(runs[0])
    phi, q = read_member(Path(results.metadata["save_dir"]), 1)
    phi = np.array(phi, dtype=np.float64)
    xtx = phi.T @ phi
    ridge = np.trace(xtx) / min(phi.shape)
    h = np.einsum("nk,nk->n", phi @ np.linalg.inv(xtx + ridge * np.eye(len(xtx))), phi)
    assert open_run(results.folder).members().scores([1]) == pytest.approx(h * q, rel=1e-4)


def test_a_run_of_one_member_is_that_member(tmp_path):
    """Law: no gradients are read where the run's own scores are the member's."""
    folder = tree(tmp_path, 1)
    results = read_results(finish(folder, "clean"))
    change(results.folder, save_dir="/nowhere")
    assert open_run(results.folder).members().scores([0]) == pytest.approx(results.scores)


def test_the_whole_comparison_has_a_band(runs, tmp_path):
    """Law: two runs with members give a band, a mark for each row that is beyond it, and counts that agree."""
    compared = compare_runs(*runs)
    null, table = compared.stats["comparison"]["null_band"], compared.table
    assert null["reason"] is None
    assert null["members"] == {"clean": MEMBERS, "poisoned": MEMBERS}
    assert (table["beyond_null"] == (table["shift"].abs() > null["band"])).all()
    assert null["rows_beyond"] == table["beyond_null"].sum()
    assert null["share_beyond"] == pytest.approx(table["beyond_null"].mean())
    assert sum(one["n_rows"] for one in null["by_label"].values()) == len(table)
    assert sum(one["beyond"] for one in null["by_label"].values()) == null["rows_beyond"]
    assert compared.stats["comparison"]["parts"]["reason"] is None
    single, last = compared.summary()[-2:]
    assert single.startswith(
        f"Between single checkpoints a rank changes on average: two clean ones {null['member_shift']['clean']:.1f}"
    )
    assert (
        f"the null band (fake {100 * null['by_label']['fake']['beyond'] / null['by_label']['fake']['n_rows']:.0f} %"
        in last
    )
    assert last.endswith("; about 5 % would if the two differed by their seeds alone.")


def test_gradients_of_one_kind_are_enough_and_of_neither_are_not(runs, tmp_path):
    """Law: what is missing is said, and the comparison stands; a run elsewhere changes nothing else."""
    gone = read_results(runs[1])
    matched = compare_runs(*runs).table
    gone.metadata["save_dir"] = str(tmp_path / "gone")
    whole = null_band(open_run(runs[0]), open_run(runs[1]), matched)
    gone_folder = FinishedRun(type(gone)(tmp_path, gone.scores, gone.labels, gone.rows, gone.metadata), (), ())
    found = null_band(open_run(runs[0]), gone_folder, matched)
    assert found["reason"] is None
    assert found["notes"] == [
        f"{tmp_path / 'gone'}: no gradients there. Expected the run's save directory. Featurize again."
    ]
    assert found["member_shift"]["clean"] == whole["member_shift"]["clean"]
    assert list(found["halves"]) == ["clean"]
    neither = null_band(gone_folder, gone_folder, matched)
    assert neither == {"reason": " ".join(2 * found["notes"]), "notes": []}


def test_influence_on_targets_has_no_members(runs):
    """Law: a target set is ranked by other scores than a member's own, so nothing is passed off as them."""
    (folder,) = (runs[0] / "targets").iterdir()
    with pytest.raises(DataError, match="single members' scores cannot be made again. Got the form target_influence"):
        open_run(folder).members()


def test_another_runs_gradients_are_refused(run):
    """Law: the save directory must hold the checkpoints that were scored."""
    told = json.loads((run / "metadata.json").read_text())
    change(run, members=[member | {"digest": "other"} for member in told["members"]])
    with pytest.raises(StoreError, match="made by another run, checkpoint 0 differs"):
        open_run(run).members()


def test_a_run_that_does_not_say_where_its_gradients_are(run):
    """Law: silence is an error with advice."""
    change(run, save_dir=None)
    with pytest.raises(DataError, match="does not say how the run was made"):
        open_run(run).members()


def test_gradients_that_gave_other_scores_are_refused(run):
    """Law: what is read back must give the run's own ranking."""
    np.save(run / "trak_scores.npy", np.load(run / "trak_scores.npy")[::-1])
    sum_again(run, "trak_scores.npy")
    with pytest.raises(StoreError, match="not the gradients that gave the scores of"):
        open_run(run).members()


def test_damaged_gradients_are_named(run):
    """Law: a member that cannot be read is named."""
    (run / "store" / "1" / "grads.mmap").write_bytes(b"not an array")
    with pytest.raises(StoreError, match=r"1/grads.mmap: damaged. Got an array that cannot be read"):
        open_run(run).members()


def test_too_many_gradients_are_not_solved_again(run):
    """Law: nobody waits an hour for a band."""
    with pytest.raises(StoreError, match="2 members of 24 rows with K = 16 would take too long to solve again"):
        open_run(run).members(affordable=1.0)


def test_gradients_of_other_rows_are_refused(run):
    """Law: a stored row that belongs to no impression is not added to one."""
    for member in range(2):
        for name in ("grads", "out_to_loss"):
            path = run / "store" / str(member) / f"{name}.mmap"
            rows = np.load(path)
            with open(path, "wb") as file:
                np.save(file, rows[:20])
    with pytest.raises(StoreError, match=r"damaged. Got shape \(20, 16\) of float32, expected \(24, 16\)"):
        open_run(run).members()


def test_gradients_without_a_solution_are_an_error(run):
    """Law: gradients of nothing have no leverage."""
    for member in range(2):
        path = run / "store" / str(member) / "grads.mmap"
        with open(path, "r+b") as file:
            rows = np.zeros_like(np.load(path))
            np.save(file, rows)
        mark_again(run / "store", member)
    with pytest.raises(NumericalError, match="all projected gradients are zero"):
        open_run(run).members()
