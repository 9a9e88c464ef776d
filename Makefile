# Everything a person or CI does with this tree. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The peers that wgaudit is measured against are no part of its tests.
BENCH_VENV := .venv-bench
BENCH_BIN := $(BENCH_VENV)/bin
PIP_OPTIONS := -qq --disable-pip-version-check --no-input
PIP := $(BIN)/python -m pip $(PIP_OPTIONS)
BENCH_PIP := $(BENCH_BIN)/python -m pip $(PIP_OPTIONS)
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder # the order is that of tests/conftest.py

# The command needs few packages, its extras a few more, the tests many more. One environment, a stamp each.
RUN_STAMP := $(VENV)/.installed-run
WATCH_STAMP := $(VENV)/.installed-watch
COLLECTORS_STAMP := $(VENV)/.installed-collectors
DEV_STAMP := $(VENV)/.installed-dev
BENCH_STAMP := $(BENCH_VENV)/.installed

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python $(BENCH_BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "wgaudit needs Python 3.11 or newer; say which: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(@:/bin/python=) || \
	  { rm -rf $(@:/bin/python=); echo "$(PYTHON) cannot make environments; on Debian: apt install python3-venv" >&2; exit 1; }

$(RUN_STAMP): requirements.txt pyproject.toml | $(BIN)/python
	@echo "installing wgaudit into $(VENV)"
	@$(PIP) install -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(WATCH_STAMP): requirements-watch.txt $(RUN_STAMP)
	@echo "installing what the watch needs into $(VENV)"
	@$(PIP) install -r requirements-watch.txt
	@touch $@

$(COLLECTORS_STAMP): requirements-collectors.txt $(RUN_STAMP)
	@echo "installing what collectors need into $(VENV)"
	@$(PIP) install -r requirements-collectors.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt requirements-collectors.txt requirements-postgres.txt $(WATCH_STAMP)
	@echo "installing test tools into $(VENV)"
	@$(PIP) install -r requirements-dev.txt
	@$(PIP) check
	@touch $@

$(BENCH_STAMP): benchmarks/requirements.txt requirements.txt requirements-watch.txt requirements-collectors.txt requirements-postgres.txt pyproject.toml | $(BENCH_BIN)/python
	@echo "installing wgaudit and the peers that it is measured against into $(BENCH_VENV)"
	@$(BENCH_PIP) install -r benchmarks/requirements.txt
	@$(BENCH_PIP) install --no-deps --no-build-isolation -e .
	@$(BENCH_PIP) check
	@touch $@

.PHONY: venv
venv: $(DEV_STAMP) ## Make the environment: .venv with the pinned packages and wgaudit itself

.PHONY: demo
demo: $(RUN_STAMP) ## Sweep an embedded fleet with the incident in it (no root, no network)
	@$(BIN)/wgaudit demo

.PHONY: watch-demo
watch-demo: $(WATCH_STAMP) ## Watch that fleet, and see a duplicate come about (no root, no network; Ctrl-C ends it)
	@$(BIN)/wgaudit demo --watch

.PHONY: demo-collectors
demo-collectors: $(COLLECTORS_STAMP) ## Sweep that fleet through a collector a region, then kill one (no root; needs nats-server)
	@$(BIN)/wgaudit demo --collectors

.PHONY: parts
parts: ## Install the real parts that tests run against (root on Debian)
	@tests/parts/install

.PHONY: lint
lint: $(DEV_STAMP) ## Check style, formatting and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

.PHONY: types
types: $(DEV_STAMP) ## Check types
	$(BIN)/mypy

.PHONY: test
test: $(DEV_STAMP) parts lint types ## Everything that must pass: lint, types, tests
	$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: lab
lab: $(DEV_STAMP) parts ## Bring up the incident as a real mesh, sweep it, open a shell to repair it in (root on Debian)
	@$(BIN)/python -m tests.lab --shell || test $$? -eq 1 # findings, which the incident is made of

.PHONY: storm
storm: $(DEV_STAMP) parts ## Allocate 2,000 addresses while writers, network and Consul fail; some minutes
	@$(BIN)/python -m tests.repair.storm

.PHONY: sweep-kills
sweep-kills: $(DEV_STAMP) ## Kill a sweep that alerts eighty times, spread over all of its effects; some minutes
	SWEEP_KILLS=40 $(BIN)/python -m pytest tests/cli/test_crash.py --timeout 1800

.PHONY: watch-kills
watch-kills: $(DEV_STAMP) ## Kill a watch fifty times while the fleet changes and it tells of it; some minutes
	WATCH_KILLS=50 $(BIN)/python -m pytest tests/cli/test_watch_crash.py --timeout 1800

.PHONY: lease-faults
lease-faults: $(DEV_STAMP) parts ## Kill, freeze and cut off the leader of two auditors, 100 times each; some minutes
	LEASE_FAULTS=100 $(BIN)/python -m pytest tests/service/test_two_auditors.py --timeout 3600

.PHONY: fuzz
fuzz: $(DEV_STAMP) ## Mutate inputs of everything that reads foreign bytes, FUZZ_MINUTES long (10)
	@$(BIN)/python -m tests.fuzz

.PHONY: bench
bench: $(BENCH_STAMP) parts ## Measure against peers, write benchmarks/results.md (root, half an hour); PARTS="ssh start" for some
	@$(BENCH_BIN)/python -m benchmarks $(PARTS)

.PHONY: bench-quick
bench-quick: $(COLLECTORS_STAMP) parts ## Count what is the same on every machine: bytes, texts, objects; judges no times
	@$(BIN)/python -m benchmarks --quick $(PARTS)

.PHONY: docs
docs: $(DEV_STAMP) ## Write docs/cli.md, the man pages and the schemas in docs/ from the code
	@$(BIN)/python -m tests.generated_docs

.PHONY: pictures
pictures: $(DEV_STAMP) parts ## Draw the watch's page for docs/, in Chromium
	@$(BIN)/python -m tests.watch.web.pictures

.PHONY: pins
pins: ## Renew the pinned versions in all requirements*.txt
	@./.ci/pins

.PHONY: clean
clean: ## Remove what these targets made
	rm -rf $(VENV) $(BENCH_VENV) .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	find auditor alerts benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +
