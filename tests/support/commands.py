"""Scripts run as a user runs them, in this process or another. Not here: tests."""

import contextlib
import io
import runpy
import sys
import warnings
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from support import ROOT

SCRIPTS = ROOT / "scripts"


class Result(NamedTuple):
    """How a script ended."""

    returncode: int
    stdout: str
    stderr: str


def call(script, *arguments, folder=None):
    """Run a script's own file from `folder`, in this process, since a fresh interpreter spends seconds on imports."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "argv", [f"{script}.py", *map(str, arguments)]))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(contextlib.chdir(folder or Path.cwd()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("always")
        try:
            runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
    return Result(code, out.getvalue(), err.getvalue())


def succeed(script, *arguments, folder=None):
    """The output of a script that must end well."""
    result = call(script, *arguments, folder=folder)
    assert result.returncode == 0, result.stderr
    return result.stdout


def fail(script, *arguments, folder=None):
    """The one line that a script prints on bad input, with exit code 2 and no traceback."""
    result = call(script, *arguments, folder=folder)
    assert result.returncode == 2, result.stderr
    errors = [line for line in result.stderr.splitlines() if not line.startswith("warning:")]
    assert len(errors) == 1, result.stderr
    assert errors[0].startswith("error: ")
    return errors[0]
