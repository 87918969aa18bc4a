# Thin: every target makes .venv from the pinned set when it is missing or older than what it is made from.

PYTHON ?= python3
RECIPE ?= math-place-value
BIN := .venv/bin
# A process a core, each with one thread; a test file stays in one process, so that its fixtures are made once.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile
INSTALL := $(BIN)/pip install -qq --disable-pip-version-check --constraint constraints.txt --editable

NUMERIC := tests/unit tests/parity tests/property tests/golden

# With --directory, make would print a line behind the last one of a command, which `make demo` promises to be a path.
MAKEFLAGS += --no-print-directory

.PHONY: demo test test-portable bench

# Trains a Transformer until it knows place value; the last line is the path of the run folder.
demo: .venv/installed
	@$(BIN)/seqlab train math-place-value

# pytest stands last: its summary is the last line.
test: .venv/installed-dev
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
	@$(PYTEST)

# What computes, once more with the kernels of older processors.
test-portable: .venv/installed-dev
	@ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(PYTEST) $(NUMERIC)
	@ATEN_CPU_CAPABILITY=default $(PYTEST) $(NUMERIC)

# One recipe with three seeds; the numbers go to benchmarks/results.
bench: .venv/installed
	@$(BIN)/python benchmarks/recipes.py $(RECIPE)

.venv/installed: pyproject.toml constraints.txt
	@echo "Preparing .venv, once; torch is large, this takes a few minutes" >&2
	@$(PYTHON) -m venv .venv
	@$(INSTALL) .
	@touch $@

.venv/installed-dev: .venv/installed
	@$(INSTALL) '.[dev]'
	@touch $@
