"""From a command line to a command, and how a process ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from rec_trak.cli import COMMANDS, main, overview
from rec_trak.validation.run import PARTS


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


ENDS = [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]


@pytest.mark.parametrize(("sign", "code", "word"), ENDS)
def test_a_signal_ends_with_a_word(sign, code, word, tmp_path):
    """SIGTERM and Ctrl-C unwind, say that what is finished is kept, and give the shell's codes."""
    script = (
        "import sys, time, types, rec_trak.cli as cli\n"
        "body = types.SimpleNamespace(__doc__='x', add_flags=lambda parser: None)\n"
        "def run(args):\n    open('ready', 'w').close()\n    time.sleep(60)\n"
        "body.run = run\ncli.import_module = lambda name: body\ncli.main('demo', [])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "ready").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, sign)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err.split(":")[0]) == (code, word)
    assert len(err.splitlines()) == 1
