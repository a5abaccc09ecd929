"""The page in a browser without a screen: sorting, filtering, phones, dark, print, and that nothing leaves the file.

Each test opens a copy of the page with one more script, which acts as a reader would and leaves what it saw as JSON.
All are skipped where there is no Chromium (CHROMIUM names one).
"""

import html
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from support import page_world

from rec_trak.page.page import write_page
from rec_trak.results.files import read_results

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium; set CHROMIUM")
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions",
    "--virtual-time-budget=4000", "--enable-logging=stderr",
)  # fmt: skip
KEEP = """const keep = (seen) => document.body.append(Object.assign(document.createElement("pre"),
  {id: "seen", textContent: JSON.stringify(seen)}));
"""
HELPERS = """
const seen = {errors: [], refused: []};
addEventListener("error", (event) => seen.errors.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => seen.refused.push(event.effectiveDirective));
const column = (section, place) =>
  [...section.querySelectorAll("tbody tr")].map((line) => line.children[place].textContent);
const table = (name) => document.querySelector(`[data-table="${name}"]`);
const leave = () => parent === self ? keep(seen) : parent.postMessage(seen, "*");
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    return write_page(*page_world.write_everything(folder), folder / "page.html").path


def opened(page: Path, folder: Path, script: str, *flags: str, width: int = 0) -> dict:
    """What the script saw, with `console`: the lines that the page wrote there.

    `width` is that of the page in pixels, by a frame around it, since windows have a least width; 0 for no frame.
    """
    copy, acting = folder / "copy.html", f"(async () => {{ {script} }})().catch((e) => seen.errors.push(String(e)))"
    whole = page.read_text(encoding="utf-8")
    first = f"<head><script>{KEEP}{HELPERS}</script>"  # before the page's own, to see its errors
    last = f"<script>{acting}.then(leave)</script></body>"
    copy.write_text(whole.replace("<head>", first, 1).replace("</body>", last), encoding="utf-8")
    if width:
        frame = f'<iframe src="copy.html" style="width:{width}px;height:900px;border:0"></iframe>'
        listen = f"<script>{KEEP}addEventListener('message', (event) => keep(event.data));</script>"
        copy = folder / "frame.html"
        copy.write_text(f"<!doctype html><body style='margin:0'>{listen}{frame}</body>", encoding="utf-8")
    done = run_browser(folder, *flags, "--dump-dom", copy.as_uri())
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found[1])) | {"console": console}


def run_browser(folder: Path, *flags: str) -> subprocess.CompletedProcess:
    command = [BROWSER, *QUIET, f"--user-data-dir={folder / 'profile'}", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_headings_sort_both_ways(page, tmp_path):
    """Law: a heading sorts numbers as numbers and ids by their digits, turns round, says so, and is a button."""
    script = """
        const section = table("own-by_article"), headings = [...section.querySelectorAll("th")];
        const press = (i) => { headings[i].querySelector("button").click(); return column(section, i); };
        seen.before = headings.map((th) => th.getAttribute("aria-sort"));
        seen.down = press(4); seen.saysDown = headings[4].getAttribute("aria-sort");
        seen.up = press(4); seen.saysUp = headings[4].getAttribute("aria-sort");
        seen.words = press(0); seen.after = headings.map((th) => th.getAttribute("aria-sort"));
        const button = headings[3].querySelector("button"); button.focus();
        seen.focused = document.activeElement === button && button.tabIndex === 0 && button.tagName === "BUTTON";
    """
    seen = opened(page, tmp_path, script)
    numbers = [float(value.replace("−", "-")) for value in seen["down"]]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == len(page_world.HOSTILE)
    assert seen["up"] == seen["down"][::-1]
    assert [int(re.search(r"\d+", name)[0]) for name in seen["words"]] == list(range(len(page_world.HOSTILE)))
    assert set(seen["before"]) == {"none"}
    assert (seen["saysDown"], seen["saysUp"]) == ("descending", "ascending")
    assert seen["after"] == ["ascending"] + ["none"] * 5
    assert seen["focused"]
    assert not seen["errors"]


def test_missing_values_stand_last_whichever_way(page, tmp_path):
    """Law: a ranking without a metric is below all others, highest first or lowest first."""
    script = """
        const section = table("detection0"), heading = section.querySelectorAll("th button")[2];
        heading.click(); seen.down = column(section, 2); heading.click(); seen.up = column(section, 2);
    """
    seen = opened(page, tmp_path, script)
    assert seen["down"] == seen["up"] == ["0.7", "–"]


def test_filter_keeps_the_lines_that_hold_the_words(page, tmp_path):
    """Law: a filter keeps what holds its text, in any case, markup taken literally; emptied, it gives all back."""
    script = """
        const section = table("own-by_article"), field = section.querySelector("input");
        const status = section.querySelector("output");
        const type = (text) => {
          field.value = text; field.dispatchEvent(new Event("input")); return column(section, 1); };
        seen.script = type("<\\/SCRIPT>"); seen.count = status.textContent;
        seen.fake = type("fake").length; seen.nothing = type("no such words"); seen.all = type("").length;
        seen.live = status.getAttribute("aria-live"); seen.named = field.labels[0].textContent;
    """
    seen = opened(page, tmp_path, script)
    assert seen["script"] == [page_world.HOSTILE[0]]
    assert seen["count"] == "1 of 1 line shown"
    assert (seen["fake"], seen["nothing"], seen["all"]) == (4, [], len(page_world.HOSTILE))
    assert (seen["live"], seen["named"]) == ("polite", "Filter")


def test_long_tables_unfold(tmp_path):
    """Law: a long table shows 12 lines and 100 more at a press; sorting is of all lines, not of those shown."""
    run = page_world.write_run(tmp_path / "run")
    lines = "".join(f"user {i},{i}\n" for i in range(300))
    (run / "by_user.csv").write_text(f"user_id,sum\n{lines}", encoding="utf-8")
    page_world.claim(run)
    script = """
        const section = table("own-by_user"), more = section.querySelector("button.more");
        seen.first = column(section, 1).length; more.click(); seen.second = column(section, 1).length;
        more.click(); more.click(); seen.all = column(section, 1).length; seen.hidden = more.hidden;
        section.querySelectorAll("th button")[1].click(); seen.largest = column(section, 1)[0];
    """
    seen = opened(write_page(run).path, tmp_path, script)
    assert (seen["first"], seen["second"], seen["all"], seen["hidden"]) == (12, 112, 300, True)
    assert seen["largest"] == "299"


@pytest.mark.parametrize("second", [False, True])
def test_any_click_is_found(tmp_path, monkeypatch, second):
    """Law: by user, article, headline and row number, whatever the page lists, in the page or its second file; markup
    stays text; a user's link shows all of that user's clicks."""
    monkeypatch.setattr("rec_trak.page.page.MOST", 0 if second else 10**9)
    run = page_world.write_run(tmp_path / "run")
    page = write_page(run)
    script = """
        const ready = () => document.querySelector("#finder tbody tr");
        for (let i = 0; i < 100 && !ready(); i++) await new Promise((done) => setTimeout(done, 20));
        const finder = document.getElementById("finder"), [field, kind, status] = ["input", "select", "output"].map(
          (name) => finder.querySelector(name));
        const rows = () => [...finder.querySelectorAll("tbody tr")].map(
          (line) => [...line.children].map((cell) => cell.textContent));
        const ask = (text, as = "all") => {
          field.value = text; kind.value = as; kind.dispatchEvent(new Event("change")); return rows(); };
        seen.all = ask(""); seen.status = status.textContent;
        seen.user = ask("<u>3</u>", "user"); seen.title = ask("<\\/SCRIPT>"); seen.row = ask("17", "row");
        seen.none = ask("nobody"); seen.said = status.textContent;
        location.hash = "user=" + encodeURIComponent("<u>3</u>");
        await new Promise((done) => setTimeout(done, 100)); seen.linked = rows().map((line) => line.at(-1));
    """
    seen = opened(run / "report_rows.html" if second else page.path, tmp_path, script)
    scores = read_results(run).scores
    assert seen["errors"] == seen["refused"] == []
    assert [int(line[-1]) for line in seen["all"]] == np.argsort(-scores)[:20].tolist()
    assert [int(line[0]) for line in seen["all"]] == list(range(1, 21))
    assert seen["status"] == "20 of 40 clicks shown, of 40 searched"
    assert sorted(int(line[-1]) for line in seen["user"]) == [3, 11, 19, 27, 35]
    assert sorted(int(line[-1]) for line in seen["title"]) == [0, 12, 24, 36]
    assert seen["title"][0][2].startswith("</script><script>")
    assert [line[-1] for line in seen["row"]] == ["17"]
    assert sorted(map(int, seen["linked"])) == [3, 11, 19, 27, 35]
    assert (seen["none"], seen["said"]) == ([], "0 of 0 clicks shown, of 40 searched")


def test_links_unfold_what_they_lead_to(page, tmp_path):
    """Law: a link to a user or an article opens its section; what a heading means is a link beside it."""
    script = """
        const link = document.querySelector('#lines a[href^="#user-"]'); link.click();
        await new Promise((done) => setTimeout(done, 100));
        seen.open = document.querySelector(link.getAttribute("href")).open;
        const term = table("own-by_article").querySelector('a[href="#term-mean"]');
        seen.term = document.querySelector(term.getAttribute("href")).tagName;
    """
    seen = opened(page, tmp_path, script)
    assert (seen["open"], seen["term"], seen["errors"]) == (True, "DT", [])


def test_hostile_titles_stay_text_and_the_console_stays_empty(page, tmp_path):
    """Law: no title runs, loads, styles or renames anything, and the page itself makes no error and no request."""
    script = """
        seen.title = document.title; seen.images = document.images.length; seen.styles = document.styleSheets.length;
        seen.scripts = document.scripts.length; seen.visible = getComputedStyle(document.body).display;
        seen.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
        seen.shown = column(table("own-by_article"), 1);
        seen.base = document.baseURI === location.href;
    """
    seen = opened(page, tmp_path, script)
    assert seen["title"] == "Which clicks taught the poisoned model: train_poisoned"
    assert (seen["images"], seen["styles"], seen["scripts"]) == (0, 1, 5)  # two of them are this test's
    assert seen["visible"] == "block"
    assert not [name for name in seen["requests"] if not name.startswith("data:")]
    assert page_world.HOSTILE[1] in seen["shown"]
    assert seen["base"]
    assert seen["errors"] == seen["refused"] == seen["console"] == []


def test_nothing_can_leave_the_page(page, tmp_path):
    """Law: even a script inside the page reaches no server: the policy refuses pictures, calls, frames and forms."""
    asked = []

    class Ear(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET

    with http.server.HTTPServer(("127.0.0.1", 0), Ear) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        script = f"""
            const url = "http://127.0.0.1:{server.server_port}/";
            new Image().src = url + "image"; navigator.sendBeacon(url + "beacon", "x");
            await fetch(url + "fetch").catch(() => null);
            const add = (name, with_) => document.body.append(Object.assign(document.createElement(name), with_));
            add("iframe", {{src: url + "frame"}}); add("link", {{rel: "stylesheet", href: url + "css"}});
            await new Promise((done) => setTimeout(done, 300));
        """
        seen = opened(page, tmp_path, script)
        server.shutdown()
    assert asked == []
    assert {"img-src", "connect-src", "frame-src", "style-src-elem"} <= set(seen["refused"])


@pytest.mark.parametrize("width", [390, 1200])
def test_no_page_wide_scrolling(page, tmp_path, width):
    """Law: on a phone as on a desk nothing is wider than the screen; tables scroll inside their frames, and on a phone
    not at all."""
    script = """
        const outside = innerWidth > 520 ? ".scroll, pre, svg, caption" : "pre, svg, caption";
        seen.inner = innerWidth; seen.page = document.documentElement.scrollWidth;
        seen.wide = [...document.querySelectorAll("body *")].filter((e) => !e.closest(outside)
          && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80));
        seen.frames = [...document.querySelectorAll(".scroll")].every((e) => e.tabIndex === 0
          && (innerWidth <= 520 || getComputedStyle(e).overflowX === "auto"));
    """
    seen = opened(page, tmp_path, script, "--window-size=1300,900", "--hide-scrollbars", width=width)
    assert seen["inner"] == width
    assert seen["page"] <= width
    assert seen["wide"] == []
    assert seen["frames"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_dark_and_light(page, tmp_path, scheme):
    """Law: every kind of text has a contrast of at least 4.5 to 1 (WCAG 1.4.3) with what it stands on."""
    script = """
        const light = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((x) => x / 255)
          .map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
          .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
        const ground = (e) => { while (e) { const c = getComputedStyle(e).backgroundColor;
          if (!/, 0\\)$/.test(c)) return c; e = e.parentElement; } };
        const kinds = ["body", "a", ".soft", ".banner", ".term", ".lines dt", "ol.sums .value", ".class-fake",
          ".class-real", ".about", "thead th", "figcaption", "dt", "pre", "button.more", "summary", "output"];
        seen.contrast = Object.fromEntries(kinds.map((kind) => { const e = document.querySelector(kind);
          const pair = [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => b - a);
          return [kind, (pair[0] + 0.05) / (pair[1] + 0.05)]; }));
        const text = document.querySelector("figure svg text");
        seen.figure = getComputedStyle(text).fill === getComputedStyle(document.body).color;
        seen.dark = light(getComputedStyle(document.body).backgroundColor) < 0.1;
    """
    seen = opened(page, tmp_path, script, f"--blink-settings=preferredColorScheme={'10'[scheme == 'dark']}")
    assert seen["dark"] == (scheme == "dark")
    assert {kind: ratio for kind, ratio in seen["contrast"].items() if ratio < 4.5} == {}
    assert seen["figure"]
    assert not seen["errors"]


def test_it_prints(page, tmp_path):
    """Law: print is some pages of text in dark ink, without the controls."""
    run_browser(tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}", "--no-pdf-header-footer", page.as_uri())
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert 3 < len(re.findall(rb"/Type\s*/Page\b", content)) < 60
    if shutil.which("pdftotext"):
        text = subprocess.run(["pdftotext", tmp_path / "page.pdf", "-"], capture_output=True, text=True).stdout
        assert "Strongest proponents" in text
        assert "Filter" not in text
