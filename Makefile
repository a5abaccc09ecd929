# Two commands do everything, installation included: make demo, make test.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# pip compiles in one process what torch brings; a file of a package that is not for this Python is left as it is.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
# Two processes with a thread each: with more, small products wait for one another's threads.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
DEMO ?= demo

.PHONY: demo test test-all lint docs clean

demo: $(VENV)/installed
	$(BIN)/python scripts/demo.py --folder $(DEMO)

test: $(VENV)/installed-test lint
	$(PYTEST) -m "not long"

test-all: $(VENV)/installed-test lint
	$(PYTEST)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The public names are loaded when first used, and pdoc looks for those that are there; h5py asks
# `uname` as it loads. Annotations of named tuples and of pandas' own members are shown as they are written.
define RENDER
from pathlib import Path
from pkgutil import iter_modules
import pdoc, rec_trak
for name in rec_trak.__all__:
    setattr(rec_trak, name, getattr(rec_trak, name))
pdoc.render.configure(docformat="google", search=True)
skipped = ("rec_trak.__main__", "rec_trak.trust")  # the one runs a command, the other is a public name too
modules = [one.name for one in iter_modules(rec_trak.__path__, "rec_trak.") if one.name not in skipped]
pdoc.pdoc("rec_trak", *modules, output_directory=Path("site"))
endef
export RENDER

docs: $(VENV)/installed-docs
	PDOC_ALLOW_EXEC=1 $(BIN)/python -W error -W "ignore:Error parsing type annotation" -c "$$RENDER"

$(VENV)/made: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rec-trak needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/made
	$(PIP) -e .
	$(COMPILE)
	touch $@

$(VENV)/installed-test: $(VENV)/made
	$(PIP) -e '.[test]'
	$(COMPILE)
	touch $(VENV)/installed $@

$(VENV)/installed-docs: $(VENV)/installed-test
	$(PIP) -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) site build *.egg-info .pytest_cache .ruff_cache
