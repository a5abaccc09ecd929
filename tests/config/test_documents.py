"""YAML and JSON are read as their libraries read them, and what is strange is one reason with its line."""

import json
import math

import pytest
import yaml
from support import ROOT

from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.documents import DIGITS, DocumentError, load_json, load_yaml, read_json
from rec_trak.config.reader import read_mapping
from rec_trak.config.targets import TargetSet
from rec_trak.errors import ConfigError

NEEDED = "model_config: m.json\ndata_path: data\noutput_dir: out\n"
CHAIN = list(zip("abcdefghi", "bcdefghij", strict=True))
LISTS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in CHAIN)
MERGES = "a: &a {k: v}\n" + "".join(f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 10)}]}}\n" for a, b in CHAIN)
LADDER = "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(200))

READ = [
    "a: &few {csv: x.csv, count: 4}\nb: {<<: *few, count: 8}\n",
    "a: &a {k: 1, l: 2}\nb: &b {m: 3}\nc: {<<: [*a, *b], l: 4}\n",
    "deep: {inner: &b {k: 1}}\nx: &x {<<: *b, k: 2}\ny: {<<: *x}\nz: {<<: *x, k: 3}\n",
    "x: &a {k: 1}\ny: {z: &b {<<: *a, k: 2}}\nw: {<<: *b}\n",
    "a: &a [1, 2]\nb: [*a, *a, {c: *a}]\n",
    "a: ~\nb: yes\nc: 0x1f\nd: 1_000\ne: 1.5\nf: .inf\ng: 12:30:00\nh: !!str 5\ni: !!float 5\n",
    "7: a\n2.5: b\ntrue: c\n~: d\n",
    "text: |\n  two\n  lines\nfolded: >\n  one\n  line\n",
    "- a\n- [b, {c: d}]\n",
    "",
    "9" * DIGITS,
    "[" * 99 + "]" * 99,
]


@pytest.mark.parametrize("text", READ)
def test_yaml_is_read_as_safe_load_reads_it(text):
    """Merge keys, anchors, numbers of every kind, keys that are not text."""
    assert load_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_files_are_read_as_safe_load_reads_them(path):
    """From bytes, as files are."""
    assert load_yaml(path.read_bytes()) == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_a_date_is_the_text_that_it_is_written_as():
    """A folder named for a day is a folder; no key wants a date."""
    assert load_yaml("a: 2020-01-01\nb: 2020-13-45\nc: 2001-12-14 21:59:43.10 -5\n") == {
        "a": "2020-01-01",
        "b": "2020-13-45",
        "c": "2001-12-14 21:59:43.10 -5",
    }


YAML = {
    "long number": ("a: 1\nb: " + "9" * 5000, r"line 2, column 4: a number of more than 100 digits"),
    "long hexadecimal": ("a: 0x" + "f" * 5000, r"line 1, column 4: a number of more than 100 digits"),
    "long with colons": ("a: 1" + ":01" * 3000, r"a number of more than 100 digits"),
    "just too long": ("9" * (DIGITS + 1), r"a number of more than 100 digits"),
    "deep lists": ("a: " + "[" * 5000, r"line 1, column \d+: nested more than 100 deep"),
    "deep mappings": ("{a: " * 5000, r"nested more than 100 deep"),
    "deep blocks": ("".join(f"{' ' * i}a:\n" for i in range(300)), r"line 10\d, .*nested more than 100 deep"),
    "deep by aliases": (LADDER, r"line 10\d, .*nested more than 100 deep by aliases"),
    "aliases that blow up": (LISTS, r"aliases repeat more than 100,000 values"),
    "merges that blow up": (MERGES, r"aliases repeat more than 100,000 values"),
    "an alias of itself": ("a: &a [1, *a]", r"line 1, column 4: an alias stands inside of what it stands for"),
    "an unknown alias": ("a: *b", r"line 1, column 4: found undefined alias 'b'"),
    "a key twice": ("a: 1\nb: 2\na: 3\n", r"key `a` stands twice, in lines 1 and 3"),
    "a key twice, inside": ("x: {a: 1, 'a': 2}", r"key `a` stands twice, in lines 1 and 1"),
    "a list as a key": ("? [a, b]\n: 1\n", r"line 1, column 3: .*unhashable key"),
    "a tab": ("a:\n\tb: 1\n", r"line 2, column 1: a tab indents it, .*: put blanks there"),
    "an unclosed list": ("a: [1\n", r"line 2, column 1: .*expected ',' or '\]'"),
    "two documents": ("a: 1\n---\nb: 2\n", r"line 2, column 1: .*another document"),
    "a number that is none": ("a: !!int x", r"line 1, column 4: 'x' is not what its tag says"),
    "nothing as a number": ("a: !!int ''", r"line 1, column 4: '' is not what its tag says"),
    "a truth that is none": ("a: !!bool x", r"'x' is not what its tag says"),
    "a tag of Python's": ("a: !!python/object:os.x {}", r"line 1, column 4: .*constructor for the tag"),
    "a tagged date": ("a: !!timestamp x", r"line 1, column 4: .*constructor for the tag"),
    "bytes": ("a: !!binary eA==", r"line 1, column 4: .*constructor for the tag"),
    "an escape character": ("a: 1\nb: \x1b[31m", r"line 2: holds the character U\+001B"),
    "half a pair": ('a: "\\ud800"', r"half of a surrogate pair in '\\ud800'"),
    "UTF-16": ("a: 1".encode("utf-16"), r"it is UTF-16, or no text"),
    "no text": (b"a: 1\nb: \x89PNG", r"line 2: not UTF-8"),
}

JSON = {
    "long number": ('{"a": 1,\n"b": ' + "9" * 5000 + "}", r"line 2: a number of more than 100 digits"),
    "deep lists": ("[" * 5000, r"nested more than 100 deep"),
    "deep enough to be read": ("[" * 200 + "]" * 200, r"nested more than 100 deep"),
    "deep mappings": ('{"a": ' * 5000, r"nested more than 100 deep"),
    "a key twice": ('{"x": {"a": 1, "b": 2, "a": 3}}', r"key `a` stands twice"),
    "a quote left open": ('{"a": 1,\n "b', r"line 2, column 2: Unterminated string"),
    "nothing": ("", r"line 1, column 1: Expecting value"),
    "half a pair": ('["\\udc80"]', r"half of a surrogate pair in '\\udc80'"),
    "UTF-16": ("[1]".encode("utf-16"), r"it is UTF-16, or no text"),
    "no text": (b'["\n\xff"]', r"line 2: not UTF-8"),
}


@pytest.mark.parametrize("case", YAML)
def test_strange_yaml_is_one_reason(case):
    """With the line where it is known, in one printable line of a sensible length."""
    document, match = YAML[case]
    with pytest.raises(DocumentError, match=match) as error:
        load_yaml(document)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("case", JSON)
def test_strange_json_is_one_reason(case):
    """As of YAML."""
    document, match = JSON[case]
    with pytest.raises(DocumentError, match=match) as error:
        load_json(document)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


def test_json_is_read_as_python_reads_it(tmp_path):
    """Pairs of surrogates, NaN and infinities that Python writes, a byte order mark."""
    content = {"a": [1, -2.5, True, None, "é😀\0"], "b": {}, "c": 10 ** (DIGITS - 1)}
    for ascii_alone in (True, False):
        assert load_json(json.dumps(content, ensure_ascii=ascii_alone)) == content
    assert load_json("[" * 100 + "]" * 100) == json.loads("[" * 100 + "]" * 100)
    assert [math.isnan(load_json("[NaN, Infinity]")[0]), load_json("[NaN, Infinity]")[1]] == [True, math.inf]
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "a.json") == [1]


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize(
    ("document", "match"),
    [
        (b"[" * 5000, r"not valid (yaml|json): .*nested more than 100 deep. Mend the file\.$"),
        (b'{"a": ' + b"9" * 5000 + b"}", r"not valid (yaml|json): line 1.*: a number of more than 100 digits"),
        (b'{"a": 1, "a": 2}', "key `a` stands twice"),
        ("{}".encode("utf-16"), r"cannot be read \(it is UTF-16, or no text\). Save the file as UTF-8\.$"),
        (b'{"a": "\xff"}', r"cannot be read \(line 1: not UTF-8\). Save the file as UTF-8\.$"),
        (b"[]", "must hold keys and values. Got list, expected a mapping"),
    ],
)
def test_an_error_names_the_file_and_what_to_do(tmp_path, suffix, document, match):
    """Whichever of the two it is."""
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(document)
    with pytest.raises(ConfigError, match=rf"a\.{suffix}: .*{match}"):
        read_mapping(path)


def test_a_folder_is_not_a_file(tmp_path):
    """As any file that cannot be opened."""
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        read_mapping(tmp_path)


def test_target_sets_share_what_they_share(tmp_path):
    """A set may be another one with a key changed."""
    (tmp_path / "a.yaml").write_text(
        f"{NEEDED}targets: {{few: &few {{csv: x.csv, count: 4}}, more: {{<<: *few, count: 8}}}}\n", encoding="utf-8"
    )
    sets = read_analysis_config(tmp_path / "a.yaml").targets
    assert sets == {"few": TargetSet(csv="x.csv", count=4), "more": TargetSet(csv="x.csv", count=8)}


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("seed: 2020-01-01", r"`seed` has the wrong type. Got '2020-01-01', expected a whole number"),
        (f"seed: {10**20}", r"`seed` is too large. Got 10{20}, expected at most 9223372036854775807"),
        (f"lambda_rel: {'9' * 99}e999", r"`lambda_rel` is not finite"),
        ("checkpoints: 5", r"`checkpoints` has the wrong type. Got 5, expected text or a list or"),
        ("targets: {a: 5}", r"`targets`\.a has the wrong type. Got 5, expected text or keys and values"),
        ("lambda_rel: .nan", r"`lambda_rel` is not finite. Got nan, expected a number"),
        ("lambda_rel: .inf", r"`lambda_rel` is not finite. Got inf, expected a number"),
        ("lambda_rel: 1e999", r"`lambda_rel` is not finite"),
        (f"lambda_rel: '{'9' * 10**6}'", r"`lambda_rel` has the wrong type"),
        ("targets: {true: a.csv}", r"`targets` has a key that is not text. Got True, expected text. Put the keys in"),
        ("targets: {1: a.csv, '1': b.csv}", r"`targets` has a key twice, as a number and as text. Got '1'"),
        ('device: "a\\0b"', r"`device` holds a NUL character. Got 'a\\x00b'"),
        (f"? {'x' * 10**6}\n: 1", r"unknown key `x{99}…x{100}`"),
        (f"seed: {'x' * 10**6}", r"`seed` has the wrong type. Got 'x+…x+', expected a whole number"),
        ('"bad\\e[31m\\u202e": 1', "unknown key `bad\ufffd\\[31m\ufffd`"),
    ],
)
def test_a_value_that_cannot_be_meant_is_one_short_line(tmp_path, line, match):
    """Dates, numbers beyond what is computed with, odd keys; what is quoted is cut and harmless."""
    (tmp_path / "a.yaml").write_text(f"{NEEDED}{line}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=match) as error:
        read_analysis_config(tmp_path / "a.yaml")
    assert len(str(error.value)) < 1000


def test_ids_may_be_long_numbers(tmp_path):
    """An article's id is not computed with; a number as a key is the text that it is written as."""
    text = f"targets: {{1: {{article: {'9' * 30}, users: train}}}}\n"
    (tmp_path / "a.yaml").write_text(NEEDED + text, encoding="utf-8")
    assert read_analysis_config(tmp_path / "a.yaml").targets["1"].article == int("9" * 30)
