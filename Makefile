# Everything that is done with this repository. `make` alone says what there is.
# It assumes Python 3.11+, make and git; each target does the set-up that it needs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: help install lock check contracts fast format release test demo bench chaos clean

help: ## say what can be made
	@echo "Placet: software asks, a human answers, and the record proves it."
	@echo
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1|/' | \
	    while IFS='|' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done
	@echo
	@echo "New here? \`make demo\`; then \`. .venv/bin/activate\` and \`placet --help\`."

install: ## set up .venv: pinned dependencies, stubs, packages
	@$(PYTHON) tools/install.py

lock: install ## renew requirements.txt (UPGRADE=1: to the newest versions)
	@$(BIN)/python tools/lock.py $(if $(UPGRADE),--upgrade)

check: install ## check code, contracts, pins and wheels (ARGS=types: one of them)
	@$(BIN)/python tools/check.py $(ARGS)

fast: install ## what to run after each change: checks, and tests without servers
	@$(BIN)/python tools/check.py --fast

contracts: install ## write dist/contracts: what other teams compile
	@$(BIN)/python tools/contracts.py export

release: check contracts ## write dist: wheels, and the contracts as one archive
	@$(BIN)/uv build --quiet --all-packages --wheel --no-build-isolation --python $(BIN)/python -o dist/wheels
	@tar -czf dist/placet-contracts.tar.gz -C dist contracts
	@echo "dist/wheels and dist/placet-contracts.tar.gz are what a release carries"

format: install ## bring code and contracts into shape, and renew the tables in docs
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .
	@$(BIN)/buf format --write protos
	@$(BIN)/python deploy/variables.py
	@$(BIN)/python tools/rights.py

# One process more than cores: with as many as cores, the tests left a third of them idle.
test: install ## the whole suite, about 20 minutes (ARGS='-k name': a part; THOROUGH=1: each bit)
	@$(if $(THOROUGH),PLACET_THOROUGH=1) $(BIN)/pytest --numprocesses=$$($(PYTHON) -c "import os; print(os.cpu_count() + 1)") --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

demo: install ## six requests tell the story, a minute (EXIT=1: end by itself)
	@$(BIN)/placet demo $(if $(EXIT),--exit)

bench: install ## measure against bare Temporal, twelve minutes (ARGS=--help)
	@$(BIN)/python tests/bench/run.py $(ARGS)

chaos: install ## random kills, duplicates and races, a quarter of an hour (ARGS=--help)
	@$(BIN)/python tests/chaos/run.py $(ARGS)

clean: ## remove what was made, but no data (.placet stays)
	@rm -rf .venv .build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find libs services workers tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
