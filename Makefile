# Every target does its own set-up: a fresh machine needs Python 3.11 to 3.13 and make.
PYTHON ?= python3
BIN = .venv/bin
# Two files of tests at a time, on one thread each.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

.PHONY: help demo test slow gpu lint coverage benchmark clean

help: ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: .venv/installed ## Compare federated, alone and pooled over 208 synthetic hospitals
	$(BIN)/thyroid-sim compare --out demo

test: .venv/installed-dev ## Run the fast tests
	$(PYTEST)

slow: .venv/installed-dev ## Run the slow tests: real federations, Ray, a clean wheel
	$(PYTEST) -m slow

gpu: .venv/installed-dev ## Run the tests that need CUDA
	$(BIN)/pytest -m gpu

lint: .venv/installed-dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: .venv/installed-dev ## Run the fast tests; at least 90 % of the package must run
	$(PYTEST) --cov --cov-report=term

benchmark: .venv/installed-dev ## Measure the overhead of the federation, quickly
	$(BIN)/python benchmarks/simulation.py --quick

clean: ## Remove the demonstration and all caches, not .venv
	rm -rf demo runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage

.venv/bin/pip:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip # pip 23 picks a torch that does not fit

.venv/installed: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
