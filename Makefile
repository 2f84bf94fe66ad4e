# Everything runs in .venv, made from Python 3.11 or later when missing or older than what it is made of.
# What a target needs beyond the package itself is added when it is first run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RUN ?= runs/demo

# Workers that share the tests; BLAS threads beside them would only wait for each other.
WORKERS ?= 2
ALONE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: setup demo serve programs test slow check docs bench clean
.DELETE_ON_ERROR:

setup: $(VENV)/.dev

$(READY): pyproject.toml Makefile
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) --upgrade pip
	$(PIP) --editable .
	touch $@

# $(VENV)/.dev, .docs and .bench: with the extra of that name.
$(VENV)/.%: $(READY)
	$(PIP) --editable '.[$*]'
	touch $@

demo: $(READY)
	DATA="$$($(BIN)/rec data demo)" && $(BIN)/rec train --data "$$DATA" --run $(RUN) --preset quick
	$(BIN)/rec rate --run $(RUN) --user 42 --movie 1193
	$(BIN)/rec topk --run $(RUN) --user 42 --k 20

serve: $(VENV)/.serve
	$(BIN)/rec serve --run $(RUN) --open

programs:
	@sh tests/programs.sh

test: $(VENV)/.dev programs
	$(ALONE) $(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile

slow: $(VENV)/.slow programs
	$(BIN)/pytest -m slow

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/batching.py
	$(BIN)/python benchmarks/sweeps.py
	$(BIN)/python benchmarks/sampling_bias.py

clean: # leaves runs and data
	rm -rf $(VENV) dist site
