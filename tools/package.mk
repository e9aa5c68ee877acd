# What every package's Makefile offers; it sets nothing but TOP, the path to the root.
.DEFAULT_GOAL := help
.PHONY: help test check

help: ## say what can be made here
	@echo "make test    run this package's tests"
	@echo "make check   format, lint and types of this package"

# Run from the package's own folder: its tests may lean on nothing that lies elsewhere.
test:
	@$(MAKE) --no-print-directory -C $(TOP) install
	@$(TOP)/.venv/bin/pytest $(ARGS) .

check:
	@$(MAKE) --no-print-directory -C $(TOP) install
	@$(TOP)/.venv/bin/ruff format --check .
	@$(TOP)/.venv/bin/ruff check .
	@cd $(TOP) && .venv/bin/mypy $(patsubst $(abspath $(TOP))/%,%,$(wildcard $(CURDIR)/src $(CURDIR)/tests))
