"""What a training reads besides its YAML."""

import pytest
from support import strange

from rec_trak.errors import DataError
from rec_trak.training import job


def test_users_stand_in_the_order_of_their_numbers(tmp_path):
    """Ties by name."""
    (tmp_path / "map.json").write_text('{"b": 2, "c": 1, "a": 2}', encoding="utf-8")
    assert job._mapped_users(tmp_path / "map.json") == ("c", "a", "b")


@pytest.mark.parametrize("content", [b"", b"{", *strange.JSON.values()])
def test_a_damaged_user_map_is_one_line(tmp_path, content):
    """Whatever its reader raises of it."""
    (tmp_path / "map.json").write_bytes(content)
    with pytest.raises(
        DataError, match=r"map\.json: not valid JSON \(.*\)\. Expected .* Mend or remove it\.$"
    ) as error:
        job._mapped_users(tmp_path / "map.json")
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("content", ["[1]", '{"a": 1.5}', '{"a": NaN}', '{"a": "1"}'])
def test_other_content_is_no_user_map(tmp_path, content):
    """Numbers are whole."""
    (tmp_path / "map.json").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"map\.json: not a user map"):
        job._mapped_users(tmp_path / "map.json")
