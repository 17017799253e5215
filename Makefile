# SPDX-License-Identifier: Apache-2.0
# Everything runs from a bare machine with git, make and Python 3.11: each target sets up what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# An inherited environment must not lead to another interpreter or to other settings than those of this folder.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport PYTHONPATH PYTHONHOME
export PYTHONDONTWRITEBYTECODE :=
# The certificates that this machine trusts, as pip does; uv alone would bring its own.
export UV_SYSTEM_CERTS := 1

PACKAGES := libs/nerv services/broker services/temporal services/projector services/sync services/scheduler examples/flights
SUITE ?=
MONTHS ?= 1
SCALE ?= 1
DIST ?= dist
WORKERS ?= 2

.PHONY: help
help: ## what can be done
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# --- what is installed -----------------------------------------------------------------------------------------------

$(VENV)/.uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "NERV needs Python 3.11 to 3.13; say which: make PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "setting up $(VENV) (a few seconds)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.packages: $(VENV)/.uv requirements/dev.txt requirements/flights.txt
	@echo "installing the pinned packages (the first time on a machine 10 s to some minutes, as the network goes; later seconds)"
	@$(BIN)/uv pip install --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --require-hashes --no-deps --no-build-isolation -r requirements/flights.txt
	@touch $@

$(VENV)/.ours: $(VENV)/.packages $(PACKAGES:%=%/pyproject.toml)
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation $(PACKAGES:%=-e ./%)
	@touch $@

.PHONY: setup
setup: $(VENV)/.ours ## the virtual environment with all pinned packages

# --- what users run --------------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## the whole mesh on a month of real flights (MONTHS=12: a year)
	@$(BIN)/python -m flights.demo --months $(MONTHS)

.PHONY: dev
dev: setup ## Kafka, Redis and the five services on this machine, with the flights app
	@$(BIN)/nerv dev --app flights:app

.PHONY: wheels
wheels: setup ## wheels of the library and the services, into dist/ (DIST=folder)
	@mkdir -p $(DIST) && rm -f $(DIST)/nerv_mesh*.whl
	@for package in libs/nerv services/*; do \
	  (cd $$package && python -m hatchling build -t wheel -d $(abspath $(DIST))) || exit; \
	done

# --- what is deployed ------------------------------------------------------------------------------------------------

.PHONY: image
image: ## the image of the five services, by Docker (BASE_IMAGE=, TAG=)
	@BASE_IMAGE="$(BASE_IMAGE)" TAG="$(TAG)" deploy/docker/build.sh

.PHONY: image-check
image-check: setup ## the image as it is: size, labels, user, contents, starts, and images of apps made from it (TAG=)
	@TAG="$(TAG)" $(BIN)/python deploy/docker/check.py

$(VENV)/.audit: requirements/audit.txt $(VENV)/.uv
	@$(BIN)/uv venv --quiet --clear $(VENV)/audit
	@$(BIN)/uv pip install --quiet --python $(VENV)/audit --require-hashes -r requirements/audit.txt
	@touch $@

# In an environment with exactly what the image holds, so that no Docker is needed; make image-check compares that with the image.
.PHONY: audit
audit: setup $(VENV)/.audit ## bill of materials of the image (dist/*.cdx.json), and what is known against its packages
	@$(MAKE) --no-print-directory wheels DIST=$(VENV)/wheels >/dev/null
	@$(BIN)/uv venv --quiet --clear $(VENV)/image
	@$(BIN)/uv pip install --quiet --python $(VENV)/image --require-hashes -r requirements/mesh.txt
	@$(BIN)/uv pip install --quiet --python $(VENV)/image --no-deps --no-index --find-links $(VENV)/wheels \
	  nerv-mesh $(patsubst services/%,nerv-mesh-%,$(wildcard services/*))
	@$(BIN)/python deploy/audit/audit.py $(VENV)/audit/bin $(VENV)/image $(DIST)/nerv-mesh.cdx.json $(ARGS)

.PHONY: up
up: ## the whole mesh on this machine, by Docker Compose (LAYERS=observability; ARGS=--build)
	@deploy/compose/up.sh $(ARGS)

.PHONY: down
down: ## what `make up` started; ARGS=--volumes for its data, too
	@deploy/compose/up.sh down $(ARGS)

# --- what shows that it works ----------------------------------------------------------------------------------------

.PHONY: test
test: check pytest chart-check ## all checks and tests, on a real Kafka and a real Redis

.PHONY: check
check: setup ## lint, format, types, import rules, generated code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy libs/nerv/src services/*/src examples/flights/src tests bench docs deploy/check deploy/grafana
	@$(BIN)/lint-imports
	@proto/check.sh

# In the order of the folders: by itself xdist takes files of few tests last, of which one takes minutes while a core idles.
.PHONY: pytest
pytest: setup ## the tests alone; ARGS="-k broker" chooses some
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: chart-check
chart-check: setup ## the chart and the compose file, by Helm's and Compose's own parsers
	@deploy/check.sh

.PHONY: docs-check
docs-check: setup ## the diagrams of the documents, by Mermaid itself
	@$(BIN)/python -m pytest -q docs/checks

.PHONY: dashboards-check
dashboards-check: setup ## every query of the dashboards, asked of a Prometheus while the demo runs
	@$(BIN)/python -m tests.observability dashboards

.PHONY: alerts-check
alerts-check: setup ## every alert fires when its fault is made, and clears, in a mesh under a Prometheus
	@$(BIN)/python -m tests.observability alerts

.PHONY: collector-check
collector-check: setup ## a collector takes deploy/otel/collector.yml, and keeps the traces that it says
	@$(BIN)/python -m tests.observability traces

.PHONY: bench
bench: setup ## figures beside a peer's; SUITE=produce SCALE=0.1
	@SCALE=$(SCALE) $(BIN)/python -m bench $(SUITE)

.PHONY: faults
faults: setup ## processes killed under load, and invariants that hold; SUITE=temporal SCALE=0.1
	@SCALE=$(SCALE) $(BIN)/python -m tests.faults $(SUITE)

.PHONY: cluster-test
cluster-test: setup ## the chart on a real Kubernetes, as root; ARGS="scale kill" SCALE=0.3, KEEP=1
	@SCALE=$(SCALE) KEEP=$(KEEP) $(BIN)/python -m tests.cluster $(ARGS)

.PHONY: fuzz
fuzz: setup ## parsers and the broker's door against input that nobody would write; SCALE=0.1
	@SCALE=$(SCALE) $(BIN)/python -m tests.fuzz

# --- housekeeping ----------------------------------------------------------------------------------------------------

.PHONY: pins
pins: $(VENV)/.uv ## newest versions that work together, with hashes, into requirements/*.txt
	@for name in uv dev mesh build; do \
	  constraint=$$([ $$name = mesh -o $$name = build ] && echo "-c requirements/dev.txt" || true); \
	  $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --python-version 3.11 --universal $$constraint \
	    requirements/$$name.in -o requirements/$$name.txt; \
	done
	@$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --python-version 3.11 --universal \
	  requirements/audit.in -o requirements/audit.txt
	@$(BIN)/uv pip compile --quiet --no-deps --generate-hashes --python-version 3.11 --universal \
	  requirements/flights.in -o requirements/flights.txt

.PHONY: docs
docs: setup ## what is made from the code in docs/, again
	@$(BIN)/python -m docs.making

.PHONY: proto
proto: setup ## the Python of proto/nerv/api, again
	@proto/generate.sh

.PHONY: dashboards
dashboards: setup ## Grafana's dashboards and the table of docs/metrics.md, again
	@$(BIN)/python -m deploy.grafana

.PHONY: clean
clean: ## everything that was made here
	@rm -rf $(VENV) .nerv bench/.peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
