# The two commands of the README, and what a developer runs. Everything happens in .venv; nothing else is touched.
#
#   make up [LIBRARY=path] [DATA=dir] [PORT=8000] [DAGSTER_PORT=3000]
#   make test

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
LIBRARY ?=
DATA ?=
PORT ?= 8000
DAGSTER_PORT ?= 3000
# PyTorch's own index of CPU builds, for machines whose package index has none. Empty: only the index pip is set to.
TORCH_INDEX_URL ?=
# One more than the cores of a small machine: tests wait for sockets, locks and other processes.
TEST_PROCESSES ?= 3
# Of `make fuzz`, for each target.
SECONDS ?= 300

export DAGSTER_DISABLE_TELEMETRY := 1
# Every service, run and test that starts a process would compile all sources again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help up test test-fast test-failures fuzz lint format types check-lock lock defs ci clean

help:  ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(VENV)/.installed  ## Start everything: ingest LIBRARY (none: a sample), API on 8000, Dagster UI on 3000; Ctrl-C stops
	@exec $(BIN)/lora-manager up --port $(PORT) --dagster-port $(DAGSTER_PORT) \
	  $(if $(LIBRARY),--library "$(LIBRARY)") $(if $(DATA),--data "$(DATA)")

test: $(VENV)/.installed-dev  ## Run the test suite, without what test-failures runs
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadgroup -m "not failure" tests

test-fast: $(VENV)/.installed-dev  ## Run the tests that start no real processes and take no ten seconds
	$(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist loadgroup -m "not platform and not slow and not failure" tests

# Two at once: most of the time they wait for processes to die and to come back.
test-failures: $(VENV)/.installed-dev  ## Break real processes, disks and servers: killed, full, gone, at once
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m failure tests

fuzz: $(VENV)/.installed-dev  ## Search for input that breaks readers, SECONDS each (needs pip install atheris)
	@for target in weights documents prompts markup pictures; do \
	  nice $(BIN)/python -m tests.fuzz $$target --seconds $(SECONDS); \
	done

lint: $(VENV)/.installed-dev  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev  ## Bring the sources into style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

defs: $(VENV)/.installed-dev  ## Check that Dagster can load the definitions
	@VIRTUAL_ENV="$(CURDIR)/$(VENV)" $(BIN)/dg check defs
	@$(BIN)/dagster definitions validate -m pipelines.delivery_definitions  # dg knows one location of a project

check-lock: $(VENV)/.installed-dev  ## Check that constraints.txt pins what pyproject.toml asks for
	@.ci/check-lock

lock: $(VENV)/.installed-dev  ## Bring constraints.txt up to pyproject.toml, keeping every pin that still fits
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --no-header --quiet -o constraints.txt

ci:  ## What the continuous integration runs
	.ci/run

clean:  ## Remove the environment and caches; the data folder stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

# The stamps make the second call instant: an install runs again only when the requirements change.
$(VENV)/.installed: pyproject.toml constraints.txt
	@TORCH_INDEX_URL="$(TORCH_INDEX_URL)" .ci/install .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	@TORCH_INDEX_URL="$(TORCH_INDEX_URL)" .ci/install ".[dev]"
	@touch $(VENV)/.installed $@
