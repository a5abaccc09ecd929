"""The commands users type: what they print, write, and say on bad input."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from support import tiny
from support.commands import SCRIPTS, call, fail, succeed

from rec_trak.locks import locked


@pytest.fixture
def config(tmp_path):
    """A tree, checkpoints and a YAML."""
    tiny.write_tree(tmp_path / "data")
    tiny.write_models(tmp_path / "runs", tmp_path / "data")
    return tiny.write_config(tmp_path)


def test_the_job_from_featurize_to_compare(tmp_path, config):
    """featurize, score, score --targets, compare and report write the documented files; a second run does nothing."""
    kinds = {"clean": "train_clean", "poisoned": "train_poisoned"}
    for model_type, dataset_type in kinds.items():
        flags = ("--config", config, "--dataset_type", dataset_type, "--model_type", model_type)
        assert "featurized" in succeed("featurize", *flags)
        assert "featurized 0 rows" in succeed("featurize", *flags)
        assert "effective dimension" in succeed("score", *flags)
    folder = tmp_path / "results" / "poisoned_train_poisoned"
    for name in ("trak_scores.npy", "trak_labels.npy", "ranking_results.csv", "ranking_full.csv", "metadata.json"):
        assert (folder / name).stat().st_size
    scores = np.load(folder / "trak_scores.npy")
    full = pd.read_csv(folder / "ranking_full.csv")
    assert list(full.columns[:5]) == ["rank", "sample_idx", "score", "label", "category"]
    np.testing.assert_allclose(full["score"], np.sort(scores)[::-1], rtol=1e-5)
    assert len(pd.read_csv(folder / "ranking_results.csv")) == 10
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["members"][0]["effective_dimension"] > 0
    assert not (folder / "trak_gradients.npy").exists()
    targets = tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv"
    assert "on 11 targets" in succeed("score", *flags, "--targets", targets, "--save_matrix")
    assert (folder / "targets" / "benchmark_mixed" / "ranking_full.csv").exists()
    clean = tmp_path / "results" / "clean_train_clean"
    out = tmp_path / "comparison"
    assert "24 rows" in succeed("compare", "--clean_dir", clean, "--poisoned_dir", folder, "--output_dir", out)
    assert (out / "model_comparison.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "comparison_stats.json").read_text())["comparison"]["matched_rows"] == 24
    (folder / "ranking_full.csv").unlink()
    succeed("report", "--results_dir", folder)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "ranking_full.csv"), full)


def test_analyze_does_both_from_any_folder(tmp_path, config):
    """One command with the existing flags; the working directory does not matter to the scripts."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    flags = ("--top_k", 3, "--proj_dim", 8, "--sample_size", 20, "--device", "cpu")
    out = succeed("analyze", "--config", config, *flags, folder=elsewhere)
    assert "featurized 20 of 20 rows" in out
    assert len(pd.read_csv(tmp_path / "results" / "clean_train_clean" / "ranking_results.csv")) == 6
    assert not list(elsewhere.iterdir())


def test_save_embeddings_writes_the_projected_gradients(tmp_path, config):
    """(N, K) of one member, (members, N, K) of several."""
    tiny.write_config(tmp_path, save_embeddings=True)
    succeed("analyze", "--config", config)
    assert np.load(tmp_path / "results" / "clean_train_clean" / "trak_gradients.npy").shape == (24, 16)


def test_dry_run_writes_nothing(tmp_path, config):
    """Rows, parameters, path, time, disk and memory, of scoring too, and no file."""
    before = sorted(tmp_path.rglob("*"))
    out = succeed("featurize", "--config", config, "--dry_run")
    told = ("rows        24 x 1", "parameters", "factored", "sketch", "time", "disk", "memory", "scoring", "Nothing")
    for word in told:
        assert word in out
    assert sorted(tmp_path.rglob("*")) == before


def test_train_writes_what_featurize_reads(tmp_path):
    """train.py's checkpoints and model.json go straight into an analysis."""
    data = tiny.write_tree(tmp_path / "data")
    training = tmp_path / "train.yaml"
    sizes = json.dumps(tiny.SIZES["nrms"])
    training.write_text(
        f"architecture: nrms\nsizes: {sizes}\ndata_path: {data}\noutput_dir: {tmp_path / 'runs'}\nepochs: 1\n"
    )
    for dataset_type in ("train_clean", "train_poisoned"):
        out = succeed("train", "--config", training, "--dataset_type", dataset_type, "--members", 2, "--halves")
        assert out.count(".pt: epoch 1") == 2
    rows = np.load(tmp_path / "runs" / "clean_0_rows.npy")
    assert len(rows) == 12
    config = tiny.write_config(tmp_path)
    assert "(2 checkpoint(s))" in succeed("featurize", "--config", config, "--model_type", "poisoned")


def replace_in(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


BAD_DATA = {
    "missing column": (lambda text: text.replace("candidate_id,", "candidate,", 1), "candidate_id"),
    "empty file": (lambda text: "", "empty"),
    "header only": (lambda text: text.splitlines()[0] + "\n", "no "),
    "history is no list": (lambda text: text.replace('"[', '"(', 1), "history"),
    "label out of range": (lambda text: text.replace(",1,0", ",2,0", 1), "label"),
    "unknown article": (lambda text: text.replace(",n1,", ",n99,", 1), "n99"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_click_logs(tmp_path, config, case):
    """Every defect of the CSV is one line with the file's name, and nothing is written."""
    change, word = BAD_DATA[case]
    path = tmp_path / "data" / "models" / "train_clean.csv"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    message = fail("featurize", "--config", config)
    assert "train_clean.csv" in message
    assert word in message
    assert not (tmp_path / "results").exists()


def test_bad_articles(tmp_path, config):
    """A repeated article id is named."""
    path = tmp_path / "data" / "news_items.csv"
    replace_in(path, "\nn1,", "\nn0,")
    assert "n0" in fail("featurize", "--config", config)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--device", "cuda:9"), "--device: no CUDA here"),
        (("--top_k", "0"), "--top_k: too small"),
        (("--sample_size", "999"), "--sample_size: `sample_size`: more than there are. Got 999, expected at most 24"),
    ],
)
def test_bad_flags(config, flags, message):
    """A flag that cannot be meant is refused, where the YAML would be clipped."""
    assert message in fail("analyze", "--config", config, *flags)


@pytest.mark.parametrize("seed", ["-1", str(10**30)])
@pytest.mark.parametrize(
    ("script", "flags"),
    [
        ("train", ["--config", "train.yaml"]),
        ("detect", ["--results_dir", "none", "--promoted", "n1"]),
        ("trust", ["--results_dir", "none"]),
    ],
)
def test_a_seed_that_no_generator_takes(tmp_path, script, flags, seed):
    """Below zero, or more than 64 bits hold."""
    (tmp_path / "train.yaml").write_text("architecture: nrms\ndata_path: data\noutput_dir: out\n", encoding="utf-8")
    error = fail(script, *flags, "--seed", seed, folder=tmp_path)
    assert f"--seed: out of range. Got {seed}, expected 0 to 4611686018427387904. Change it." in error


def test_a_training_has_members(tmp_path):
    """None, or fewer, is nothing to do."""
    (tmp_path / "train.yaml").write_text("architecture: nrms\ndata_path: data\noutput_dir: out\n", encoding="utf-8")
    error = fail("train", "--config", tmp_path / "train.yaml", "--members", "0", folder=tmp_path)
    assert "--members: too few. Got 0, expected at least 1" in error


def test_top_k_flag_beyond_the_rows_is_refused_and_the_yaml_clipped(tmp_path, config):
    """The flag is refused before anything is written over; the YAML's value gives a warning."""
    assert "--top_k: `top_k`: more than there are. Got 99, expected at most 24" in fail(
        "analyze", "--config", config, "--top_k", 99
    )
    tiny.write_config(tmp_path, top_k=99)
    result = call("analyze", "--config", config)
    assert result.returncode == 0
    assert "warning: `top_k`: more than there are. Got 99, expected at most 24 rows. Going on with 24." in result.stderr


def test_bad_config_files(tmp_path, config):
    """A missing YAML, a misspelt key, a checkpoint that is none."""
    assert "no such file" in fail("featurize", "--config", tmp_path / "none.yaml")
    replace_in(config, "proj_dim", "proj_dmi")
    assert "did you mean `proj_dim`?" in fail("featurize", "--config", config)
    replace_in(config, "proj_dmi", "proj_dim")
    (tmp_path / "runs" / "clean_0.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    assert "clean_0.pt" in fail("featurize", "--config", config)


def test_score_before_featurize_says_what_to_run(config):
    """Nothing is scored that was not featurized."""
    assert "Run scripts/featurize.py with the same flags" in fail("score", "--config", config)


def test_another_runs_save_directory_is_refused(config):
    """The field and both values are in the line."""
    succeed("featurize", "--config", config)
    assert "`proj_dim` differs. Got 8, the directory holds 16" in fail("featurize", "--config", config, "--proj_dim", 8)


def test_no_ridge_with_few_rows_is_refused(tmp_path, config):
    """K >= N and lambda_rel 0."""
    tiny.write_config(tmp_path, lambda_rel=0, proj_dim=64)
    assert "`lambda_rel` 0 with K = 64 and N = 24" in fail("analyze", "--config", config)


def test_comparing_what_is_not_there(tmp_path):
    """A folder without results is named."""
    assert str(tmp_path) in fail("compare", "--clean_dir", tmp_path, "--poisoned_dir", tmp_path)
    assert str(tmp_path) in fail("report", "--results_dir", tmp_path)


def test_unknown_target_set(config):
    """Neither a file nor a name of the config."""
    assert "--targets: no such file or name. Got nowhere.csv" in fail(
        "score", "--config", config, "--targets", "nowhere.csv"
    )


def test_output_that_cannot_be_written(tmp_path, config):
    """A file where a folder should be is one line, not a traceback."""
    (tmp_path / "results").write_text("in the way")
    assert str(tmp_path / "results") in fail("featurize", "--config", config)


@pytest.mark.long
def test_ctrl_c_keeps_what_is_finished(tmp_path, config):
    """Exit code 130, and the next run goes on."""
    tiny.write_tree(tmp_path / "big", rows=1500)  # two blocks
    tiny.write_config(tmp_path, data_path=str(tmp_path / "big"), news_items_path=None, batch_size=1)
    command = [sys.executable, str(SCRIPTS / "featurize.py"), "--config", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # A suite that runs in the background of a shell inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    marker = tmp_path / "results" / "clean_train_clean" / "store" / "0" / "blocks" / "0000000.json"
    while not marker.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in errors
    assert [path.name for path in marker.parent.iterdir()] == [marker.name]
    out = succeed("featurize", "--config", config, "--batch_size", 50)
    assert "featurized 476 rows, 1,024 were there already" in out


@pytest.mark.parametrize("sign", [signal.SIGINT, pytest.param(None, marks=pytest.mark.long)])
def test_two_target_sets_at_once(tmp_path, config, sign):
    """The second is refused with who is at it and how to wait, or waits with a word, until Ctrl-C or its turn."""
    succeed("featurize", "--config", config)
    store = tmp_path / "results" / "clean_train_clean" / "store"
    flags = ("--config", config, "--targets", tmp_path / "data" / "benchmarks" / "benchmark_mixed.csv")
    command = [sys.executable, str(SCRIPTS / "score.py"), *map(str, flags), "--wait"]
    with locked(store):
        assert f"in use. Got a lock held by process {os.getpid()} on " in (refused := fail("score", *flags))
        assert "Wait for it to end (--wait does), or give another `save_dir`." in refused
        second = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert second.stderr.readline().startswith(f"waiting: {store} is in use by process {os.getpid()} on ")
        if sign:
            second.send_signal(sign)
            assert second.wait(timeout=20) == 130
    out, err = second.communicate(timeout=60)
    if sign:
        assert err.startswith("interrupted: ")
    else:
        assert (second.returncode, err) == (0, "")
        assert "on 11 targets" in out
        with locked(store):
            succeed("score", *flags)  # it is all there: nobody is waited for


def test_a_fresh_interpreter_ends_with_one_line_and_exit_code_2(tmp_path):
    """What the tests above see in this process is what a shell sees."""
    command = [sys.executable, str(SCRIPTS / "featurize.py"), "--config", str(tmp_path / "none.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 2
    assert result.stderr == f"error: {tmp_path / 'none.yaml'}: no such file. Give the path of a YAML or JSON file.\n"
