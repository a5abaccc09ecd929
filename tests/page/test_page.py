"""The page: what it says, what it must never hold, and that no text of a click log becomes markup."""

import html
import json
import re
import subprocess
import sys
from configparser import ConfigParser
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from support import ROOT, page_world, strange
from support.commands import fail, succeed

from rec_trak.errors import DataError, StoreError
from rec_trak.page.advice import NOT_VALIDATED
from rec_trak.page.page import write_page
from rec_trak.page.rendering import with_code
from rec_trak.page.tables import LINES, make_table, read_table, shown
from rec_trak.words import headline_text

COMMAND = "python scripts/report.py --results_dir '<x>'"


class Reader(HTMLParser):
    """Tags, attributes, and the text outside scripts of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.texts, self.scripts, self.inside = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        (self.scripts if self.inside in ("script", "style") else self.texts).append(data)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """A run with everything in it, and its comparison; tests do not change them."""
    return page_world.write_everything(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def text(folders, tmp_path_factory) -> str:
    place = tmp_path_factory.mktemp("out") / "page.html"
    return write_page(*folders, place, COMMAND).path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text) -> Reader:
    return Reader(text)


@pytest.fixture
def run(tmp_path) -> Path:
    """A run of one checkpoint and nothing besides, for tests that change it."""
    return page_world.write_run(tmp_path / "run")


def words(path: Path) -> str:
    return " ".join(" ".join(Reader(path.read_text(encoding="utf-8")).texts).split())


def test_no_text_of_the_data_becomes_markup(page):
    """Law: the page has its own three scripts and one style, no image, handler or base, whatever titles say."""
    assert page.tags.count("script") == 3
    assert page.tags.count("style") == 1
    assert not {"img", "base", "b", "i", "u", "s", "iframe", "object", "embed", "form"} & set(page.tags)
    assert not [attribute for _, attribute, _ in page.attributes if attribute.startswith("on")]


def test_every_title_stands_in_the_page_as_text(page):
    """Law: what can be seen of a headline is shown; what hides or reorders its neighbours becomes U+FFFD."""
    told_of = " ".join(" ".join(page.texts).split())
    for title in page_world.HOSTILE:
        assert shown(headline_text(title.replace("\0", " ")), 180) in told_of  # rows.csv has a space for it
    assert "bell � escape �[31m nul delete � next line" in told_of
    assert "override �gnp.exe" in told_of
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", told_of)


def test_nothing_is_fetched(text, page):
    """Law: every address is inside the page or its data; a policy forbids the rest."""
    for tag, attribute, value in page.attributes:
        if attribute in ("src", "href", "xlink:href", "action", "srcset"):
            assert value.startswith(("#", "data:")), (tag, attribute, value)
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in (value or ""))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:")
    assert "url(http" not in text
    assert "@import" not in text


def test_tables_travel_as_json_that_no_title_can_end(text, folders):
    """Law: the embedded tables are the CSV files, and hold no sign that HTML reads."""
    inside = re.search(r'id="tables">(.*?)</script>', text, re.DOTALL)[1]
    assert not set("<>&") & set(inside)
    tables = json.loads(inside)
    articles = tables["own-by_article"]
    frame = pd.read_csv(folders[0] / "by_article.csv", keep_default_na=False)
    assert [line[0] for line in articles["lines"]] == frame["article_id"].tolist()
    assert [line[1] for line in articles["lines"]] == [shown(headline_text(t)) for t in frame["title"]]
    assert [line[4] for line in articles["lines"]] == pytest.approx(frame["sum"].tolist(), rel=1e-3)
    assert [column["kind"] for column in articles["columns"]] == ["short", "headline", "label", *["number"] * 3]
    assert [column["term"] for column in articles["columns"]] == [
        "",
        "",
        "term-class",
        "term-row",
        "term-sum",
        "term-mean",
    ]
    groups = {f"{at}-by_{what}" for at in ("own", "set0") for what in ("article", "user")}
    assert set(tables) == groups | {"detection0", "set0-explain_7_2"}


@pytest.mark.long
def test_the_same_folder_gives_the_same_bytes(folders, text, tmp_path):
    """Law: no time, no random id, no order of a set: another process writes the same page to the byte."""
    code = f"from rec_trak.page.page import write_page; write_page({str(folders[0])!r}, {str(folders[1])!r}, " \
           f"{str(tmp_path / 'again.html')!r}, {COMMAND!r})"  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1"})
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text


def test_first_screen(folders, text):
    """Law: at most ten lines, what was asked first and what to do last; what is not validated says so; the terminal's
    are the same; the verdict on known poison stands in its section."""
    found = write_page(*folders, folders[1] / "page.html")
    names = [fact.split(":")[0] for fact in found.facts]
    assert names == ["Asked", "Promoted", "Articles", "Clicks", "Users", "Injected", "Other model", "Retrained",
                     "How sure", "Next"]  # fmt: skip
    assert f"Retrained: {NOT_VALIDATED}" in found.facts
    assert found.facts[5].endswith("copies of other users'. A baseline wins: `<i>ours</i>` loses.")
    assert "A baseline wins: <code><span>&lt;i&gt;ours&lt;/i&gt;</span></code> loses." in text


def test_a_flag_stands_on_one_line():
    """Law: words of code that fit a line stay in one piece, longer ones may break; all is escaped, none is changed."""
    long = "/a/<folder>/" + "x" * 20
    told = with_code(f"run `python x.py --dry_run {long}` & see")
    assert re.sub("</?(span|code)>", "", told) == f"run python x.py --dry_run {html.escape(long)} &amp; see"
    assert re.findall("<span>(.*?)</span>", told) == ["python", "x.py", "--dry_run"]


def test_what_was_analysed_and_the_commands(page):
    """Law: checkpoints with digests, rows, parameters, K, ridge, versions and every command stand in the page."""
    told_of = " ".join(" ".join(page.texts).split())
    for fact in (
        "<b>member_0.pt (digest digest0), ridge 0.1", "40 by 8 users on 12 articles", "1,234", "torch 2.13.0",
        "14 click a fake article, 26 a real one", "rows 0123, negatives 4567", "lambda_rel 1.0",
        "python scripts/score.py --config '<i>x</i>.yaml'", COMMAND, "a note with <b>tags</b> and code",
        "python scripts/compare.py --clean_dir",
    ):  # fmt: skip
        assert fact in told_of, fact


def test_sections_without_files_say_what_makes_them(run):
    """Law: a bare run has a page that names the command for each thing it lacks, and no empty section."""
    write_page(run)
    told_of = words(run / "report.html")
    for command in (
        "scripts/detect.py --results_dir",
        "score.py --config '<i>x</i>.yaml' --targets NAME",
        "report.py --results_dir",
    ):
        assert command in told_of
    assert "There is one checkpoint." in told_of
    assert "Strongest proponents" not in told_of
    assert "click a fake article; of all clicks 35 % do." in told_of


def test_banner_until_there_is_a_validation_result(run):
    """Law: "not validated" stands until validation.json says something; then its values stand in the page."""
    (run / "validation.json").write_text("{}")
    page_world.claim(run)
    assert f"Retrained: {NOT_VALIDATED}" in write_page(run).facts
    assert 'id="not-validated"' in (run / "report.html").read_text()
    (run / "validation.json").write_text(json.dumps({"verdict": "LDS <b>.31</b>", "lds": 0.31, "points": [1, 2]}))
    page_world.claim(run)
    assert "Retrained: LDS <b>.31</b>" in write_page(run).facts
    assert 'id="not-validated"' not in (run / "report.html").read_text()
    said = words(run / "report.html")
    assert NOT_VALIDATED not in said
    assert "Retrained LDS <b>.31</b>" in said
    assert "lds 0.31" in said


def test_long_tables_and_titles_are_bounded(run):
    """Law: a table of any length embeds LINES lines and counts the rest; a title of any length is cut, and says so."""
    lines = [f"a{i},{'W' * 3000},{i},{i / 7}" for i in range(LINES + 500)]
    (run / "by_article.csv").write_text("\n".join(["article_id,title,rows,sum", *lines]), encoding="utf-8")
    page_world.claim(run)
    table = read_table(run / "by_article.csv", "x", "Articles")
    assert (len(table.lines), table.total) == (LINES, LINES + 500)
    assert max(len(line[1]) for line in table.lines) == 240
    path = write_page(run).path
    assert "The first 1,000 of 1,500 lines; all are in by_article.csv ." in words(path)
    assert path.stat().st_size < 2_000_000


def test_columns_are_numbers_only_where_every_cell_is(run):
    """Law: ids stay text even where all look like numbers; empty cells are no value, infinities no number."""
    frame = pd.DataFrame({"user_id": ["1", "2"], "sum": ["1.5", ""], "x": ["1", "a"], "y": ["inf", "1"], "z": ["", ""]})
    table = make_table(frame, "t", "T", "t.csv")
    assert [column["kind"] for column in table.columns] == ["short", "number", "short", "short", "short"]
    assert table.lines == [["1", 1.5, "1", "inf", ""], ["2", None, "a", "1", ""]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("by_user.csv", b"", r"by_user\.csv: cannot be read"),
        ("by_article.csv", b"a,b\n\xff\xfe,1", r"by_article\.csv: cannot be read"),
        ("validation.json", b"{", r"validation\.json: cannot be read"),
        *(("trust.json", content, r"trust\.json: cannot be read") for content in strange.JSON.values()),
        ("validation.json", b"[1]", r"validation\.json: no keys and values\. Got list"),
        ("detection.json", b"{}", r"detection\.json: cannot be read \(missing or misplaced: 'verdict'\)"),
        ("detection.json", b'{"verdict": 3, "interval": {"level": 0.9}}', r"detection\.json: cannot be read"),
    ],
)
def test_a_damaged_file_is_named(run, name, content, message):
    """Law: a file that is there and cannot be read is an error that names it, never an absent section."""
    (run / name).write_bytes(content)
    page_world.claim(run)
    with pytest.raises(DataError, match=message):
        write_page(run)


def test_output_is_a_file_or_a_folder_that_is_made(run, tmp_path):
    """Law: a name that ends in .html is the page; all else is a folder; both are made; no other file is left."""
    assert write_page(run, output=tmp_path / "a" / "b").path == tmp_path / "a" / "b" / "report.html"
    assert write_page(run, output=tmp_path / "c" / "mine.htm").path == tmp_path / "c" / "mine.htm"
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"mine.htm", "classes.csv"}
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file: cannot be written \(File exists\)"):
        write_page(run, output=tmp_path / "file" / "page.html")
    with pytest.raises(DataError, match=r"not a finished run"):
        write_page(tmp_path / "nowhere")


@pytest.mark.long
def test_the_script_prints_the_facts_and_one_line_on_bad_input(run, tmp_path):
    """Law: report.py writes the page besides the old files; a folder that cannot be made is one line, exit code 2."""
    said = succeed("report", "--results_dir", run)
    assert NOT_VALIDATED.replace("Not", "Retrained: Not", 1) in said
    assert said.splitlines()[-1].strip() == str(run / "report.html")
    assert {"ranking_full.csv", "score_distribution.png"} <= {path.name for path in run.iterdir()}
    (tmp_path / "file").write_text("")
    failed = fail("report", "--results_dir", run, "--output", tmp_path / "file" / "x")
    assert re.fullmatch(r"error: .*cannot be written.*choose another folder\.", failed)


def test_the_template_is_installed_with_the_package():
    """Law: setup.cfg takes every template along, and names jinja2."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    patterns = settings["options.package_data"]["rec_trak"].split()
    templates = {path for pattern in patterns for path in (ROOT / "rec_trak").glob(pattern)}
    assert templates == set((ROOT / "rec_trak" / "page").glob("*.j2")) != set()
    assert "jinja2" in settings["options"]["install_requires"]
