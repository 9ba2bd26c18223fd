# Every target first installs the package in .venv, again if pyproject.toml has changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint figures notebooks docs fuzz bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

demo: $(VENV)/installed  ## train under staleness on real data; results in outputs/demo
	$(BIN)/python -m asyncopt hydra.run.dir=outputs/demo

test: $(VENV)/installed lint  ## lint, then run the whole suite
	$(BIN)/python -m pytest

lint: $(VENV)/installed  ## check style, the layers of imports, and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

SCALE ?= laptop
figures: $(VENV)/installed  ## make the paper's figures in figures/gallery; SCALE=laptop (20 minutes, two cores) or paper
	$(BIN)/python -m figures --scale $(SCALE)

notebooks: $(VENV)/installed  ## execute the notebooks, and save their outputs
	$(BIN)/python -m jupyter execute --inplace notebooks/*.ipynb

docs: $(VENV)/installed  ## build the site in docs/_build/html; every warning is an error
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

INPUTS ?= 1000
fuzz: $(VENV)/installed  ## give every reader, the command line and the engine INPUTS random inputs each (1,000 by default)
	$(BIN)/python -m pytest tests/fuzz --fuzz $(INPUTS)
	$(BIN)/python -m tests.fuzz.guided --inputs $(INPUTS)

bench: $(VENV)/installed  ## time the replay, sparse rows and long traces side by side; writes benchmarks/results
	$(BIN)/python benchmarks/bench.py

clean:  ## remove the environment, caches and results
	rm -rf $(VENV) .pytest_cache .ruff_cache outputs multirun docs/_build
