# A fresh clone needs Python 3.11 with venv, and make. Everything else is locked in requirements/.
# Stamp files inside each environment make a second call do nothing.

PYTHON ?= $(shell python3.11 -c '' 2>/dev/null && echo python3.11 || echo python3)
ARGS ?=

VENV := .venv
FLOWER_VENV := .venv-flower
A2A_VENV := .venv-a2a
DOCS_VENV := .venv-docs
BIN := $(VENV)/bin
UV := $(BIN)/uv
SYNC := $(UV) pip sync --quiet --require-hashes

# Never fetch an interpreter, and never build against another environment that happens to be active.
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help run test deep lint bench faults schedules scale pictures lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## Run the example flow on an embedded server
	$(BIN)/flowcore run examples/census.yaml $(ARGS)

test: $(VENV)/.installed $(FLOWER_VENV)/.synced $(A2A_VENV)/.synced ## Run the tests; ARGS go to pytest
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

deep: $(VENV)/.installed ## Run every campaign at its full size, fill docs/deep-campaigns.md; ARGS go to pytest
	FLOWCORE_DEEP=1 $(BIN)/python -m pytest -m deep --timeout 3600 --junitxml build/deep.xml $(ARGS); \
	code=$$?; $(BIN)/python -m scripts.deep_report build/deep.xml; exit $$code

lint: $(VENV)/.installed ## Check format, style, types, import layers and dependencies
	scripts/lint

bench: $(VENV)/.installed ## Measure throughput; ARGS go to flowcore bench
	$(BIN)/flowcore bench $(ARGS)

faults: $(VENV)/.installed ## Run a campaign of faults; ARGS="--seed 7 --runs 300 --faults 60"
	$(BIN)/python -m tests.faults $(ARGS)

schedules: $(VENV)/.installed ## Compare both stores on random schedules; ARGS="--count 100000 --seed 1"
	$(BIN)/python -m tests.schedules $(ARGS)

scale: $(DOCS_VENV)/.synced ## Simulate large clusters; draw and fill docs/scale.md
	$(DOCS_VENV)/bin/python -m scripts.scale_report $(ARGS)

pictures: $(VENV)/.installed ## Draw the pictures of the README anew
	$(BIN)/python -m scripts.pictures

lock: $(VENV)/.bootstrapped ## Compile requirements/*.in to hash-locked *.txt; ARGS as in --upgrade
	UV=$(UV) scripts/lock $(ARGS)

clean: ## Remove the environments, caches and build results
	rm -rf $(VENV) $(FLOWER_VENV) $(A2A_VENV) $(DOCS_VENV) build dist htmlcov .coverage .coverage.*
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find flowcore worker tests scripts examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(VENV)/.bootstrapped: requirements/bootstrap.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	@touch $@

# bootstrap.txt is synced as well, so that uv does not remove itself.
$(VENV)/.synced: $(VENV)/.bootstrapped requirements/dev.txt
	$(SYNC) --python $(BIN)/python requirements/bootstrap.txt requirements/dev.txt
	@touch $@

# The build backend is locked in dev.txt too: nothing is fetched here.
$(VENV)/.installed: $(VENV)/.synced pyproject.toml
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(FLOWER_VENV)/.synced: $(VENV)/.bootstrapped requirements/flower.txt
	$(PYTHON) -m venv --without-pip $(FLOWER_VENV)
	$(SYNC) --python $(FLOWER_VENV)/bin/python requirements/flower.txt
	@touch $@

$(A2A_VENV)/.synced: $(VENV)/.bootstrapped requirements/a2a.txt
	$(PYTHON) -m venv --without-pip $(A2A_VENV)
	$(SYNC) --python $(A2A_VENV)/bin/python requirements/a2a.txt
	@touch $@

$(DOCS_VENV)/.synced: $(VENV)/.bootstrapped requirements/docs.txt
	$(PYTHON) -m venv --without-pip $(DOCS_VENV)
	$(SYNC) --python $(DOCS_VENV)/bin/python requirements/docs.txt
	@touch $@
