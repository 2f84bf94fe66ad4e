# Everything runs in .venv, made from Python 3.11 or later when missing or older than what it is made of.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RUN ?= runs/demo

.PHONY: setup demo test slow check bench clean
.DELETE_ON_ERROR:

setup: $(READY)

$(READY): pyproject.toml Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	touch $@

demo: $(READY)
	DATA="$$($(BIN)/rec data demo)" && $(BIN)/rec train --data "$$DATA" --run $(RUN) --preset quick
	$(BIN)/rec rate --run $(RUN) --user 42 --movie 1193
	$(BIN)/rec topk --run $(RUN) --user 42 --k 20

test: $(READY)
	$(BIN)/pytest

slow: $(READY)
	$(BIN)/pytest -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python benchmarks/batching.py
	$(BIN)/python benchmarks/sweeps.py
	$(BIN)/python benchmarks/sampling_bias.py

clean: # leaves runs and data
	rm -rf $(VENV) dist
