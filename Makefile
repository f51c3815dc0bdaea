# Every target creates what it needs in .venv, by pip alone, at the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
JOBS ?= 2

.PHONY: help setup setup-all demo test smoke lint bench docs clean

help:
	@echo "make demo   ask a small local model, score it, write a report"
	@echo "make test   run the test suite"
	@echo "make smoke  the built wheel in an empty environment, core dependencies alone, pinned and oldest"
	@echo "make lint   ruff and mypy"
	@echo "make bench  run the benchmarks"
	@echo "make docs   take the pictures of docs/ anew, from the real pages"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.local: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install -q -c constraints.txt -e '.[local]'
	@touch $@

$(VENV)/.all: $(VENV)/.dev
	$(PIP) install -q -c constraints.txt -e '.[dev,reference,all]'
	@touch $@

setup: $(VENV)/.dev
setup-all: $(VENV)/.all

demo: $(VENV)/.local
	$(BIN)/flames run local --prompts quick --out runs/demo --resume

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

# The built wheel with its core dependencies alone, away from the checkout, at pinned versions and
# at the oldest ones that pyproject.toml allows.
smoke: $(BIN)/python
	$(BIN)/python scripts/smoke.py --constraints constraints.txt
	$(BIN)/python scripts/smoke.py --lowest

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check src tests benchmarks scripts
	$(BIN)/mypy

bench: $(VENV)/.all
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: $(VENV)/.all
	@for script in scripts/*screenshots.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis runs/demo
