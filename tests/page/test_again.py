"""Commands that a page advises: the run's own flags, and none of a single scoring's."""

from types import SimpleNamespace

import pytest

from rec_trak.page.again import again

MADE = "python scripts/score.py --config 'my run.yaml' --model_type poisoned --targets a --group_by x --top_k=5"
OWN = "--config 'my run.yaml' --model_type poisoned --top_k=5"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (MADE, f"`python scripts/validate.py {OWN} --what lds`"),
        ("/venv/bin/python /x/scripts/analyze.py --config y --explain 3 a:4 --device cpu",
         "`python scripts/validate.py --config y --device cpu --what lds`"),
        ("python scripts/demo.py --folder demo", "`python scripts/validate.py --what lds` with this run's flags"),
        ("python scripts/score.py --config 'open", "`python scripts/validate.py --what lds` with this run's flags"),
        ("python scripts/score.py --config `rm`", "`python scripts/validate.py --what lds` with this run's flags"),
        (None, "`python scripts/validate.py --what lds` with this run's flags"),
    ],
)  # fmt: skip
def test_flags_are_those_of_the_run(made, told):
    """Law: what named the run names it again; a command that cannot be read, or is another's, is told in words."""
    assert again(SimpleNamespace(metadata={"command": made}), "validate.py", "--what", "lds") == told
