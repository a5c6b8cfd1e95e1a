# The one task runner. `make` alone lists the verbs. .ci/run calls the same verbs.
# Everything is made below .venv and build/out; nothing outside the repository is changed, except that
# `make test` as root on Debian installs the packages its tests drive.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
SETUP_STAMP := $(VENV)/.neurocache-setup
SETUP_INPUTS := pyproject.toml constraints.txt setup.py packaging/make_venv.sh

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup build serve test check bench bench-macro sim freeze docs clean

help: ## list these verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: $(SETUP_STAMP) ## build everything into .venv; .venv/bin/neurocache is the program

$(SETUP_STAMP): $(SETUP_INPUTS)
	@packaging/make_venv.sh $(VENV)
	@touch $@

build: $(SETUP_STAMP) ## compile what changed (Zig, Cython) in place
	@$(PYTHON) setup.py -q build_ext --inplace

serve: build ## run a node in front of the bundled demo site; Ctrl-C ends both
	@exec $(PYTHON) packaging/demo/serve.py $(SERVE_ARGS)

test: build ## every test: Zig, thread sanitizer, pytest; installs the programs it drives where it may
	@packaging/test_programs.sh
	@$(PYTHON) build/zig_archive.py test
	@$(PYTHON) build/zig_archive.py race
	@$(PYTHON) -m pytest $(PYTEST_ARGS)

check: build ## linters, formatters, types, layers, C ABI
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(PYTHON) build/zig_archive.py format-check
	@$(PYTHON) build/zig_archive.py abi-check
	@echo "check: all green"

bench: build ## pytest-benchmark suites; bench-macro compares with other servers
	@$(PYTHON) -m pytest bench --benchmark-enable --benchmark-only $(PYTEST_ARGS)

bench-macro: build ## NeuroCache beside nginx, Varnish, Traffic Server and the ceiling (15 minutes)
	@$(PYTHON) -m bench.macro.run --require-all --judge $(BENCH_ARGS)

sim: build ## simulate the replicated store under faults; SIM_ARGS="--seed 7 --trace" repeats one
	@$(PYTHON) -m tests.sim $(or $(SIM_ARGS),--count 200)

freeze: build ## one-directory frozen program in build/out/freeze/neurocache
	@$(PYTHON) packaging/freeze.py

docs: build ## check that links in the documentation resolve
	@$(PYTHON) -m pytest -q tests/tidy/test_documents.py

clean: ## remove everything that was built, but not .venv
	rm -rf build/out dist neurocache.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find _core -name '*.so' -delete
