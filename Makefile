# pyro-mcp. `make` alone says what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
# What guests the tests and `make run` boot.
TEST_ENVIRONMENTS := debian:12 debian:12-base
# Where it is set, every start compiles every module again: a second instead of a moment.
export PYTHONDONTWRITEBYTECODE :=
.PHONY: help setup images run check test test-all soak bench format smoke test-pythons reference constraints clean

help: ## Say what can be made.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing: system packages (apt, as root or with sudo), then .venv.
	@scripts/setup

run: setup ## Build the guest image, then run one command in a real virtual machine.
	@$(BIN)/pyro env pull debian:12
	@echo '+ pyro run debian:12 -- git --version' >&2
	@$(BIN)/pyro run debian:12 -- git --version

check: setup ## Format, lint, types, layers, style.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/style

images: setup
	@for name in $(TEST_ENVIRONMENTS); do $(BIN)/pyro env pull $$name || exit; done

test: setup ## Unit, contract and guest tests, in parallel: minutes. ARGS="tests/unit -k name" narrows them.
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

test-all: setup ## The same with every kill point and every generated example: about half an hour.
	PYRO_TEST_ALL=1 $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

soak: images ## A thousand create, exec, delete: nothing may grow. Takes about half an hour.
	PYRO_TEST_LIVES=1000 $(BIN)/python -m pytest tests/vm/test_one_shot_vms.py -k many_lives $(ARGS)

bench: images ## Measure on this machine and print one table; AGAINST=REV compares with another revision.
	@$(BIN)/python -m benchmarks $(if $(AGAINST),--against $(AGAINST)) $(ARGS)

format: setup ## Format the code, and mend what the linter can.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

smoke: images ## Install the built wheel with the newest dependencies it allows, and run guests with it.
	$(BIN)/python -m pytest tests/vm/test_wheel.py $(ARGS)

test-pythons: images ## Unit and contract tests and the smoke test on every supported Python that is installed.
	@scripts/test-pythons $(ARGS)

reference: setup ## Write docs/reference and the schema snapshot anew, from the table of operations.
	@$(BIN)/python scripts/reference.py

constraints: setup ## Write constraints.txt anew; UPGRADE=1 takes the newest versions.
	@$(BIN)/python scripts/constraints.py $(if $(UPGRADE),--upgrade)

clean: ## Remove the virtualenvs and what tools left here. Guest images stay in the cache: `pyro env prune`.
	rm -rf .venv .venvs .hypothesis .ruff_cache .pytest_cache .import_linter_cache build dist
	find src tests scripts benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2> /dev/null || true
