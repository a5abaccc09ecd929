"""A finished run for the tests of detection: one to be read only, and one of a test's own."""

import pytest
from support import finished


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run, to be read only."""
    return finished.finished_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def own(tmp_path):
    """A finished run of the test's own."""
    return finished.finished_run(tmp_path)
