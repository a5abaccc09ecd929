"""Laws of settings in sections: what stands in the file is found and put in, and nothing outside of it is looked up."""

import pytest

from rec_trak.config.sections import flat
from rec_trak.errors import ConfigError

HYDRA = {
    "data": {"_target_": "x", "data_dir": "${paths.data_dir}", "max_title_len": 12, "max_history_len": 5},
    "model": {"_target_": "y", "num_heads": 3, "attributes2encode": ["title"], "width": "${model.num_heads}"},
    "paths": {"data_dir": "${paths.root}/data", "root": "here", "out": "${hydra:runtime.output_dir}"},
    "seed": 7,
}


def test_one_level_of_sections_is_flattened():
    """Keys are found at the top and in sections, whole references keep their type, those within text become text."""
    keys = ("data_dir", "max_title_len", "max_history_len", "num_heads", "attributes2encode", "width", "seed", "absent")
    assert flat(HYDRA, keys, "f") == {
        "data_dir": "here/data", "max_title_len": 12, "max_history_len": 5, "num_heads": 3,
        "attributes2encode": ["title"], "width": 3, "seed": 7,
    }  # fmt: skip


def test_a_flat_mapping_is_as_it_was():
    """Without sections and references the values are the file's own, lists and null included."""
    plain = {"a": 1, "b": None, "c": ["x", 2.5], "d": "text"}
    assert flat(plain, plain, "f") == plain


def test_only_what_is_needed_must_be_told():
    """A resolver in a key that nobody asks for is left unread; one that is asked for is refused by name."""
    flat(HYDRA, ["num_heads"], "f")
    with pytest.raises(ConfigError, match=r"f: .*`paths\.out` with `\$\{hydra:runtime\.output_dir\}`"):
        flat(HYDRA, ["out"], "f")
    sections = {"paths": {"data_dir": "${oc.env:PROJECT_ROOT}/data"}}
    with pytest.raises(
        ConfigError, match=r"`paths\.data_dir` with `\$\{oc\.env:PROJECT_ROOT\}`, which only the program"
    ):
        flat(sections, ["data_dir"], "f")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"s": {"k": "${s.l}", "l": "${s.k}"}}, r"`s\.k` with `\$\{s\.l\}`|`\$\{s\.k\}`, which leads back to itself"),
        ({"s": {"k": "a${s.k}"}}, "leads back to itself"),
        ({"s": {"k": "${t.l}"}}, r"`\$\{t\.l\}`, which names nothing in the file"),
        ({"s": {"k": "${s}"}}, "which names a section"),
        ({"s": {"k": "${.l}", "l": 1}}, "which only the program that ran it fills in"),
        ({"s": {"k": "${s.${s.l}}", "l": "m", "m": 1}}, r"`\$\{s\.\$\{s\.l\}\}`, which only the program"),
        ({"s": {"k": "${s.l"}}, "whose brace is not closed"),
        ({"s": {"k": "???"}}, r"`s\.k` \?\?\?, which is still to be set"),
        ({"s": {"k": "x${s.l}", "l": [1]}}, "which puts a list into text"),
        ({"s": {"k": 1}, "t": {"k": 2}}, r"`s\.k` 1 and `t\.k` 2; keep one"),
        ({"s": {"k": 1}, "k": 2}, None),
    ],
)
def test_what_cannot_be_told_is_refused_by_name(sections, message):
    """Cycles, references to nothing, resolvers, values still to be set and contradictions name the key."""
    if message is None:
        assert flat(sections, ["k"], "f") == {"k": 2}
        return
    with pytest.raises(ConfigError, match=message):
        flat(sections, ["k"], "f")


def test_an_expected_section_goes_before_others():
    """Equal values are no contradiction, null says nothing, and an expected section decides; two of them must agree."""
    both = {"data": {"k": 1}, "trainer": {"k": 2}, "model": {"k": None}}
    assert flat(both, ["k"], "f", ("data", "model")) == {"k": 1}
    assert flat(both | {"trainer": {"k": 1}}, ["k"], "f") == {"k": 1}
    with pytest.raises(ConfigError, match=r"`data\.k` 1 and `model\.k` 3"):
        flat(both | {"model": {"k": 3}}, ["k"], "f", ("data", "model"))
    with pytest.raises(ConfigError, match=r"`k` 9 and `data\.k` 1"):
        flat(both | {"k": 9}, ["k"], "f", ("data", "model"))


def test_references_that_double_are_cut_short():
    """Fifty levels of doubling neither take the memory nor the time that they ask for."""
    doubling = {f"k{i}": f"${{k{i + 1}}}${{k{i + 1}}}" for i in range(45)} | {"k45": "ab"}
    with pytest.raises(ConfigError, match="a text of more than 10,000 characters"):
        flat(doubling, ["k0"], "f")
    assert flat(doubling | {"k45": ""}, ["k0"], "f") == {"k0": ""}
    long = {f"k{i}": f"${{k{i + 1}}}" for i in range(2000)}
    with pytest.raises(ConfigError, match="leads back to itself"):
        flat(long, ["k0"], "f")
