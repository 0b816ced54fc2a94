.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# What `nats-cli` has built is found by whatever runs here.
export PATH := $(CURDIR)/.cache/bin:$(PATH)

help: ## Show what can be done here
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

sync: .venv/.synced ## Make .venv from the hashed locks

.venv/.synced: requirements/bootstrap.lock requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12"; exit 1; }
	@echo "setting up .venv from the locks (the first time this takes about a minute) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

dev: sync ## Run all of Threadmill on this machine
	@exec $(BIN)/threadmill dev $(ARGS)

test: sync ## Run every test
	@$(BIN)/python -m tests.browser.install
	@$(BIN)/python -m pytest -n auto --dist loadgroup $(ARGS)

check: sync ## Lint, types, import contracts
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && PYTHONPATH=. $(BIN)/lint-imports

chaos: sync ## Break things for some minutes, and check every promise (ARGS="--seed 1 --minutes 30")
	@$(BIN)/python -m tests.chaos $(ARGS)

bench: sync ## Measure, as ratios against bare baselines
	@$(BIN)/python -m benchmarks $(ARGS)

lock: sync ## Compile the locks anew from pyproject.toml
	@sh requirements/compile

include delivery/targets.mk

.PHONY: help sync dev test check chaos bench lock
