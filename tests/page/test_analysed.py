"""What a reader is told of how a run was made."""

from pathlib import Path

import numpy as np
import pandas as pd

from rec_trak.page.analysed import analysed
from rec_trak.results.files import Results
from rec_trak.results.lines import Lines


def told_of(**metadata):
    """Name and value of what a run of two rows says."""
    rows = pd.DataFrame({"user_id": ["u", "v"], "article_id": ["a", "a"]})
    return dict(analysed(Results(Path("r"), np.zeros(2, np.float32), np.array([1, 0]), Lines.of(rows), metadata)))


def test_the_model_is_told_in_words():
    """What it is, what it reads of an article and of a history; nothing where an older run does not say."""
    model = {
        **{"architecture": "lstur", "views": ["title", "category"], "text": {"tokeniser": "regex"}},
        **{"max_history": 7, "history_truncation": "last"},
    }
    expected = "lstur that reads title, category (regex tokens) and the last 7 articles of a history"
    assert told_of(model=model)["model"] == expected
    assert "model" not in told_of()


def test_a_checkpoint_stands_beside_its_proof():
    """The AUC of what was loaded and the one that the checkpoint states; neither where nothing was computed."""
    members = [{"checkpoint": f"runs/{name}.pt", "digest": name} for name in "abc"]
    proof = [{"auc": 0.68012, "stated": 0.6801}, {"auc": 0.5, "stated": None}, None]
    told = told_of(members=members, proof=proof)
    assert told["checkpoint 0"] == "a.pt (digest a), validation AUC 0.6801, 0.6801 by the checkpoint"
    assert told["checkpoint 1"] == "b.pt (digest b), validation AUC 0.5000"
    assert told["checkpoint 2"] == "c.pt (digest c)"


def test_whose_checkpoints_they_are_and_when_they_were_scored():
    """Law: code base and day stand in the page, each code base once; nothing where an older run does not say."""
    members = [{"checkpoint": f"{i}.pt", "digest": "d", "code_base": "plm4newsrs"} for i in range(2)]
    told = told_of(members=members, date="2020-02-03")
    assert (told["code base"], told["scored on"]) == ("plm4newsrs", "2020-02-03")
    assert not {"code base", "scored on"} & told_of().keys()
