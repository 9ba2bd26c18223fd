# Every target does its own set-up: a virtual environment in .venv, made again when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint figures notebooks docs bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 8

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

demo: $(VENV)/installed  ## train under staleness on real data; results in outputs/demo
	$(BIN)/python -m asyncopt hydra.run.dir=outputs/demo

test: $(VENV)/installed lint  ## check style and types, then run the whole suite
	$(BIN)/python -m pytest

lint: $(VENV)/installed  ## ruff, the layers of imports, and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

SCALE ?= laptop
figures: $(VENV)/installed  ## the paper's figures, into figures/gallery; SCALE=laptop (20 minutes, two cores) or paper
	$(BIN)/python -m figures --scale $(SCALE)

notebooks: $(VENV)/installed  ## execute the notebooks, and keep what they show
	$(BIN)/python -m jupyter execute --inplace notebooks/*.ipynb

docs: $(VENV)/installed  ## the documentation site, into docs/_build/html; every warning is an error
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/installed  ## what replaying under delay costs, as ratios measured side by side
	$(BIN)/python benchmarks/replay_overhead.py
	$(BIN)/python benchmarks/sparse_logistic.py
	$(BIN)/python benchmarks/cluster_trace.py

clean:  ## remove the environment, caches and results
	rm -rf $(VENV) .pytest_cache .ruff_cache outputs multirun docs/_build
