# Targets of pyro-mcp; `make` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
BIN := .venv/bin
# Environments that tests and `make run` boot.
TEST_ENVIRONMENTS := debian:12 debian:12-base
# If this is set, every start compiles every module again, which takes a second.
export PYTHONDONTWRITEBYTECODE :=
.PHONY: help setup images run check test test-all soak power-cuts stress bench format smoke smoke-hosts smoke-use-cases \
	smoke-cold-start smoke-repro-fix smoke-parallel-workspaces smoke-untrusted-inspection smoke-review-eval \
	smoke-cold-start-validation smoke-repro-fix-loop smoke-daily-loop smoke-real-repo smoke-projects smoke-examples \
	doctor demo network-demo ollama-demo run-server dist-check test-pythons reference recording constraints clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install missing system packages (apt, as root or with sudo), then .venv.
	@scripts/setup

run: setup ## Build the guest image, then run one command in a virtual machine.
	@$(BIN)/pyro env pull debian:12
	@echo '+ pyro run debian:12 -- git --version' >&2
	@$(BIN)/pyro run debian:12 -- git --version

check: setup ## Check format, lint, types, layers and style.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/style

images: setup
	@for name in $(TEST_ENVIRONMENTS); do $(BIN)/pyro env pull $$name || exit; done

test: setup ## Run unit, contract and guest tests in parallel; ARGS="tests/unit -k name" selects.
	@scripts/test $(ARGS)

test-all: setup ## Run the tests with every kill point and generated example: about half an hour.
	@PYRO_TEST_ALL=1 scripts/test $(ARGS)

soak: images ## Run a thousand VMs and check that nothing grows: about half an hour.
	PYRO_TEST_LIVES=1000 $(BIN)/python -m pytest tests/vm/test_one_shot_vms.py -k many_lives $(ARGS)

power-cuts: setup ## Cut the power under a load a hundred times; ARGS="--guests" takes real guests. As root.
	$(BIN)/python -m tests.support.power.cuts $(ARGS)

stress: images ## Run eight callers for ten minutes, kill them and VMMs, cut the power in between. As root.
	$(BIN)/python -m tests.support.stress.rounds $(ARGS)

bench: images ## Measure this machine and print a table; AGAINST=REV compares with another revision.
	@$(BIN)/python -m benchmarks $(if $(AGAINST),--against $(AGAINST)) $(ARGS)

format: setup ## Format the code and apply automatic lint fixes.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

smoke: images ## Install the built wheel with its newest allowed dependencies and run guests with it.
	$(BIN)/python -m pytest tests/vm/test_wheel.py $(ARGS)

dist-check: smoke

smoke-use-cases: images ## Play the five recipes of docs/use-cases with a plain MCP client.
	$(BIN)/python -m pytest tests/vm/test_recipes.py $(ARGS)

smoke-cold-start smoke-repro-fix smoke-parallel-workspaces smoke-untrusted-inspection smoke-review-eval: smoke-%: images
	$(BIN)/python -m pytest tests/vm/test_recipes.py -k $* $(ARGS)

smoke-cold-start-validation: smoke-cold-start
smoke-repro-fix-loop: smoke-repro-fix

smoke-daily-loop: images ## Prepare, doctor, connect, and a workspace's day, from a cold cache.
	PYRO_TEST_SMOKES=1 $(BIN)/python -m pytest tests/smokes/test_daily_loop.py $(ARGS)

smoke-real-repo: images ## A messy checkout and clean clones, from seed to exported fix; NETWORK=1 also installs a package.
	PYRO_TEST_SMOKES=1 $(BIN)/python -m pytest tests/smokes/test_real_repo.py $(ARGS)

smoke-hosts: images ## Install Claude Code, Codex and OpenCode, pinned, and have each play the recipes; needs npm.
	@scripts/smoke-hosts $(ARGS)

smoke-projects: images ## Change flask, requests, a Go module, a Rust crate and a TypeScript package in guests; needs a network.
	PYRO_TEST_PROJECTS=1 $(BIN)/python -m pytest tests/real_projects $(ARGS)

smoke-examples: images ## Install OpenAI, Agents SDK, LangChain and Pydantic AI, pinned, and run their examples.
	@scripts/smoke-examples $(ARGS)

doctor: setup ## Say what works on this machine.
	@$(BIN)/pyro doctor $(ARGS)

demo: images ## Show the life of one VM as a JSON object.
	@$(BIN)/pyro demo

network-demo: images ## The same, with a guest that fetches a page over HTTPS.
	@$(BIN)/pyro demo --network

run-server: images ## Serve MCP over stdin and stdout.
	@$(BIN)/pyro mcp serve $(ARGS)

ollama-demo: images ## Let a local model use VMs; OLLAMA_MODEL, OLLAMA_BASE_URL and OLLAMA_DEMO_FLAGS choose.
	$(BIN)/pyro demo ollama $(if $(OLLAMA_BASE_URL),--base-url $(OLLAMA_BASE_URL)) $(if $(OLLAMA_MODEL),--model $(OLLAMA_MODEL)) \
		$(OLLAMA_DEMO_FLAGS)

test-pythons: images ## Run unit, contract and smoke tests on every supported Python that is installed.
	@scripts/test-pythons $(ARGS)

reference: setup ## Generate docs/reference and the listings of tools from the table of operations.
	@$(BIN)/python scripts/reference.py

recording: images ## Record pyro in a real guest: docs/recording.cast and docs/recording.svg.
	@$(BIN)/python -m scripts.record

constraints: setup ## Regenerate constraints.txt; UPGRADE=1 takes the newest versions.
	@$(BIN)/python scripts/constraints.py $(if $(UPGRADE),--upgrade)

clean: ## Remove virtualenvs and tool caches; `pyro env prune` removes guest images.
	rm -rf .venv .venvs .hypothesis .ruff_cache .pytest_cache .import_linter_cache build dist
	find src tests scripts benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2> /dev/null || true
