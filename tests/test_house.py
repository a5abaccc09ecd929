"""The house: packages in the order of the data, and who alone may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache

import pytest
from support import ROOT

from rec_trak.cli import COMMANDS

GROUND = ("words", "errors", "progress", "disk", "locks", "room", "workers", "arrays")
LINE = (
    *GROUND,
    *("config", "data", "models", "checkpoints", "clicks", "training", "gradients"),
    *(
        "sketch",
        "store",
        "scoring",
        "attribution",
        "results",
        "runs",
        "detection",
        "comparison",
        "trust",
        "validation",
        "page",
    ),
    *("demo", "api", "frames", "tables", "commands", "cli", "__main__"),
)
APART = [("training", "gradients"), ("store", "scoring"), ("detection", "comparison"), ("comparison", "trust")]
PLOTTERS = {"results.plots", "results.panels", "results.fonts", "results.style", "page.figures", "page.svg"}


@cache
def imports() -> dict[str, frozenset[str]]:
    """Module -> the modules that it imports, anywhere in it; our own without `rec_trak.`."""
    found = {}
    for path in sorted((ROOT / "rec_trak").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "rec_trak").with_suffix("").parts).removesuffix(".__init__")
        tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found[name] = frozenset(one.removeprefix("rec_trak.") for node in tree for one in _imported(node))
    return found


def _imported(node: ast.AST):
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "a relative import"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            path = ROOT.joinpath(*inner.split("."))
            ours = node.module.startswith("rec_trak") and (path.is_dir() or path.with_suffix(".py").is_file())
            yield inner if ours else node.module


def room(module: str) -> str:
    return module.split(".")[0]


def test_no_package_imports_what_stands_to_its_right():
    """The line of DESIGN and CONTRIBUTING: an import goes left, and packages side by side leave each other alone."""
    wrong = []
    for module, theirs in imports().items():
        if module == "__init__":
            continue
        place = LINE.index(room(module))
        rooms = {room(one) for one in theirs if room(one) in LINE}
        wrong += [f"{module} -> {one}" for one in sorted(rooms) if LINE.index(one) > place]
        wrong += [f"{module} -> {a}" for a, b in APART if room(module) == b and a in rooms]
    assert wrong == []


def test_no_circle_among_modules():
    """Within a package too: what a module needs can be read before it."""
    graph = {module: {one for one in theirs if one in imports()} for module, theirs in imports().items()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join([*above, module])
        if module not in done:
            for one in sorted(graph[module]):
                visit(one, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize(
    ("library", "allowed"),
    [("matplotlib", PLOTTERS), ("trak", {"attribution.filling"}), ("jinja2", {"page.rendering"})],
)
def test_one_place_for_a_library(library, allowed):
    """`TRAKer` is driven in session alone, figures are drawn where figures live."""
    parts = {"attribution.filling"} | {m for m in imports() if room(m) in ("clicks", "gradients", "sketch", "store")}
    parts |= {"scoring.solve", "attribution.explain", "attribution.history", "attribution.estimate", "attribution.ways"}
    allowed = allowed if library != "trak" else parts
    users = {module for module, theirs in imports().items() if any(room(one) == library for one in theirs)}
    assert users <= allowed


def test_only_the_session_makes_a_traker():
    """All else of traker are its extension points."""
    users = {p for p in (ROOT / "rec_trak").rglob("*.py") if "TRAKer(" in p.read_text(encoding="utf-8")}
    assert [p.name for p in users] == ["filling.py"]


def test_one_function_prints():
    """What a command prints passes `words.say`, so that no value of a file commands a terminal."""
    users = set()
    for path in sorted((ROOT / "rec_trak").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            word = ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""
            if word in ("print", "sys.stdout.write", "sys.stderr.write", "sys.stdout.buffer", "os.write"):
                users.add(path.name)
    assert users == {"words.py"}


def test_one_module_reads_documents():
    """YAML and JSON have their bounds in one place; a cell or line of a table has its own, a process of ours none."""
    names = ("json.load(", "json.loads(", "yaml.load(", "yaml.safe_load(")
    paths = sorted((ROOT / "rec_trak").rglob("*.py"))
    users = {path.name for path in paths if any(name in path.read_text(encoding="utf-8") for name in names)}
    assert users == {"documents.py", "parsed.py", "adressa.py", "hdf5.py", "workers.py"}


def test_the_documents_draw_this_line():
    """CONTRIBUTING shows the packages in the order that the imports keep."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    start = text.index("    config ->")
    drawn = text[start : text.index("\n\n", start)].replace("->", " ").replace("|", " ").replace(",", " ").split()
    named = [name for name in drawn if name not in ("cli", "scripts")]
    assert named == [name for name in LINE if name not in (*GROUND, "commands", "cli", "__main__")]


def test_the_readme_maps_every_package():
    """A line each, in the same order."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = text[text.index("| below `rec_trak/`") :].split("\n\n")[0].splitlines()[2:]
    named = [
        word.strip("`/").removesuffix(".py") for line in lines for word in line.split(" | ")[0].strip("| ").split(", ")
    ]
    assert named == [name for name in LINE if name not in (*GROUND, "__main__")]


@pytest.mark.parametrize("package", sorted({room(m) for m in LINE if (ROOT / "rec_trak" / m).is_dir()}))
def test_a_package_says_what_it_is_for(package):
    """One sentence what for, one what not, and no names of its modules handed on."""
    tree = ast.parse((ROOT / "rec_trak" / package / "__init__.py").read_text(encoding="utf-8"))
    assert "Not here:" in ast.get_docstring(tree)
    assert len(tree.body) == 1, "an __init__ with code"


def test_a_light_import_stays_light():
    """`import rec_trak` and any `--help` load neither torch nor pandas."""
    code = "import sys, rec_trak; print({'torch', 'pandas', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_light_and_a_script_is_a_shell(command):
    """Help of a command loads neither torch nor pandas; its script is one import and one call."""
    code = f"""if True:
        import sys
        from rec_trak.cli import main
        try:
            main({command!r}, ["--help"])
        except SystemExit:
            print({{"torch", "pandas", "matplotlib", "numpy"}} & set(sys.modules))"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "set()"
    _, imported, called = ast.parse((ROOT / "scripts" / f"{command}.py").read_text(encoding="utf-8")).body
    assert ast.unparse(imported) == "from rec_trak.cli import main"
    assert ast.unparse(called) == f"if __name__ == '__main__':\n    main({command!r})"


def test_every_command_has_a_script_and_a_module():
    """Both ways of calling are one code."""
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    modules = {path.stem for path in (ROOT / "rec_trak" / "commands").glob("*.py")} - {"__init__", "shared"}
    assert scripts == modules == set(COMMANDS)
