"""From a command line to a command, and how a process ends."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
import types
import warnings
from importlib import import_module

import pytest
from support import ROOT

from rec_trak import cli, locks
from rec_trak.cli import COMMANDS, main, overview
from rec_trak.commands.shared import add_wait_flag
from rec_trak.errors import ConfigError, DataError, RecTrakWarning, StoreError
from rec_trak.validation.run import PARTS
from rec_trak.words import LINE


def ended(arguments, capsys):
    """Exit code, output and error of a command line."""
    with pytest.raises(SystemExit) as end:
        main(arguments=arguments)
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_overview_lists_every_command_in_order(capsys):
    """With a line each, for no word at all, -h and --help."""
    for words in ([], ["-h"], ["--help"]):
        code, out, _ = ended(words, capsys)
        assert (code, out.rstrip("\n")) == (0, overview())
    lines = [line.split()[0] for line in overview().splitlines() if line.startswith("  ")]
    assert lines == list(COMMANDS)


def test_a_mistyped_command_is_one_line(capsys):
    """With what may have been meant."""
    code, _, err = ended(["scores"], capsys)
    assert code == 2
    assert err.startswith("error: rec-trak: no such command. Got 'scores', expected one of demo, ")
    assert err.endswith("Did you mean score?\n")


def test_a_dash_is_an_underscore(capsys):
    """`rec-trak checkpoint-info` is the same command; errors are one line as from a script."""
    code, _, err = ended(["checkpoint-info", "nowhere.pt"], capsys)
    assert code == 2
    assert err.startswith("error: nowhere.pt")


def test_version_and_the_module_way(capsys):
    """`--version` says the installed one; `python -m rec_trak` is the same program."""
    _, out, _ = ended(["--version"], capsys)
    again = subprocess.run([sys.executable, "-m", "rec_trak", "--version"], capture_output=True, text=True, check=True)
    assert again.stdout == out
    assert out.startswith("rec-trak 0.")


def test_help_of_validate_names_its_checks(capsys):
    """The flag's help is written out, so that help need not load validation."""
    _, out, _ = ended(["validate", "--help"], capsys)
    assert f"some of {', '.join(PARTS)}" in " ".join(out.split())


def test_whoever_takes_a_lock_can_wait(capsys):
    """Every command that takes a folder's lock has `--wait`, and no other."""
    waiting = {name for name in COMMANDS if "--wait " in ended([name, "--help"], capsys)[1]}
    assert waiting == {"demo", "train", "featurize", "score", "analyze", "validate"}


def test_waiting_ends_with_the_command(monkeypatch):
    """What is called after it in this process is refused at once, as it was before."""
    seen = []
    body = types.SimpleNamespace(__doc__="x", add_flags=add_wait_flag, run=lambda args: seen.append(locks._waiting))
    monkeypatch.setattr(cli, "import_module", lambda name: body)
    main("demo", ["--wait"])
    main("demo", [])
    assert [*seen, locks._waiting] == [True, False, False]


ODD = "\x1b[31m\x07\r\n\x9b2J\u202e\u2066\u2028\ud800"


def stopped(error):
    """A command that ends so."""

    def run(args):
        if isinstance(error, Warning):
            warnings.warn(error, stacklevel=1)
        else:
            raise error

    return types.SimpleNamespace(__doc__="x", add_flags=lambda parser: None, run=run)


@pytest.mark.parametrize("error", [ConfigError, DataError, StoreError, OSError, RecTrakWarning])
@pytest.mark.parametrize("length", [10, 25_000_000])
def test_an_error_is_one_harmless_line_of_a_sensible_length(error, length, capsys, monkeypatch):
    """Whatever it quotes; where it is and what to do are still there."""
    what = error(f"{ODD}a.csv: Got {'x' * length}{ODD}. Mend the file.")
    monkeypatch.setattr(cli, "import_module", lambda name: stopped(what))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        if error is RecTrakWarning:
            main("demo", [])
            err = capsys.readouterr().err
        else:
            code, _, err = ended(["demo"], capsys)
            assert code == 2
    (line,) = err.splitlines()
    assert line.isprintable()
    assert len(line) <= LINE
    assert "a.csv: Got x" in line
    assert "Mend the file." in line


@pytest.mark.parametrize("words", [["demo", ODD], ["demo", "--seed", ODD], [ODD], ["score", f"--{ODD}"], ["x" * 99999]])
def test_a_mistyped_flag_is_harmless(words, capsys):
    """argparse repeats some words as they were typed."""
    code, _, err = ended(words, capsys)
    assert code == 2
    assert all(line.isprintable() and len(line) < LINE + 50 for line in err.splitlines())


def test_an_encoding_that_lacks_a_character_is_no_traceback(tmp_path):
    """A name that is not of this encoding, and one that is no text at all, are printed with a mark for it."""
    name = os.fsdecode(b"caf\xc3\xa9\xff.pt")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "rec_trak", "checkpoint_info", name], capture_output=True, env=environment
    )
    assert (done.returncode, done.stderr[:20]) == (2, b"error: caf??.pt: no ")


ENDS = [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]


SWALLOWS = (
    "import time\nopen('ready', 'w').close()\ntry:\n    time.sleep(60)\nexcept BaseException:\n    raise ImportError\n"
)
WHERE = {  # what stands in for the command, whose run, flags or import take long
    "running": "def run(args):\n    open('ready', 'w').close()\n    time.sleep(60)\n",
    "an import in run": "def run(args):\n    import slow\n",
    "parsing": "def run(args): ...\ndef flags(parser):\n    open('ready', 'w').close()\n    time.sleep(60)\n",
    "its module": "def run(args): ...\ndef get(name):\n    import slow\n",
}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(("sign", "code", "word"), ENDS)
def test_a_signal_ends_with_a_word(sign, code, word, where, tmp_path):
    """SIGTERM and Ctrl-C end a command wherever it is with one line and the shell's codes, even inside an import that
    makes something else of what is raised in it."""
    (tmp_path / "slow.py").write_text(SWALLOWS)
    script = (
        f"import sys, time, types, rec_trak.cli as cli\nflags = lambda parser: None\n{WHERE[where]}"
        "body = types.SimpleNamespace(__doc__='x', add_flags=flags, run=run)\n"
        "cli.import_module = get if 'get' in dir() else lambda name: body\ncli.main('demo', [])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that runs in the background of a shell inherits an ignored SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, sign)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err.split(":")[0]) == (code, word)
    assert len(err.splitlines()) == 1


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As under nohup or in the background of a shell."""
    script = "import os, signal, rec_trak.cli as cli, argparse\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    script += "cli.run_script(lambda args: os.kill(os.getpid(), signal.SIGINT), argparse.ArgumentParser(), [])\n"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_tutorials_commands_are_known():
    """Every command that docs/tutorial.md shows is one, with flags that it has."""
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8").replace("\\\n", " ")
    shown = [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("    rec-trak ")]
    assert len(shown) == 9  # the tenth is make
    for name, *words in shown:
        parser = argparse.ArgumentParser()
        import_module(f"rec_trak.commands.{name}").add_flags(parser)
        parser.parse_args(words)


def test_one_warning_of_a_kind(capsys):
    """The first is said whole and at once; what else there was of the kind, in one line, when the command ends."""

    def body(args):
        for place in ("a.pt", "b.pt", "c.pt"):
            warnings.warn(f"{place}: the weights are float16. Got {len(place)} of them.", RecTrakWarning, stacklevel=1)
        warnings.warn("log.csv: something else.", RecTrakWarning, stacklevel=1)
        print("body ends", file=sys.stderr)

    cli.run_script(body, argparse.ArgumentParser(), [])
    assert capsys.readouterr().err.splitlines() == [
        "warning: a.pt: the weights are float16. Got 4 of them.",
        "warning: log.csv: something else.",
        "body ends",
        "warning: 2 more (b.pt, c.pt): the weights are float16. Got 4 of them.",
    ]
