# Each target sets up .venv by itself. VENV=path uses another one; PYTHON=python3.12 another interpreter.
#
#   make demo                       a small study of digits that need no download, with a page, in minutes
#   make test                       all tests; no data set and no network needed
#   make test PYTEST=tests/data     some of them; PYTEST="-m mnist" those that need MNIST under $GENPRIOR_DATA
#   make check                      formatting, lint, types, import directions
#   make bench                      training speed against the usual loop
#   make audit                      known weaknesses of the packages in constraints.txt; needs a network
#   make clean                      removes .venv, runs/ and caches
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.genprior-installed
RUN = PYTHONUNBUFFERED=1 $(BIN)/python

.PHONY: demo test check bench audit clean

demo: $(READY)
	$(BIN)/genprior study --data digits --size demo --out runs/study

test: $(READY)
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 $(PYTEST)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_import_direction.py

bench: $(READY)
	$(RUN) benchmarks/train_throughput.py

audit: $(READY)
	test -x $(BIN)/pip-audit || $(BIN)/python -m pip install --disable-pip-version-check --quiet pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("genprior needs Python 3.11 or newer, got " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv runs build .mypy_cache .ruff_cache .pytest_cache
