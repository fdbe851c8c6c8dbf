# Needs Python 3.11 or newer, git and make; uses uv where it exists. `make` alone shows what there is.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= dev,speed
PORT ?=

BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
# Set up once, and again when what is installed would differ: the metadata, or the modules that stand in plugins/.
STATE := $(shell (cat setup.py pyproject.toml; ls plugins/*.py; echo $(EXTRAS)) | cksum | cut -d' ' -f1)
STAMP := $(VENV)/.installed-$(STATE)
DOCS := README.md $(shell grep -ls '\[\[\[cog' docs/*.md)

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

.DEFAULT_GOAL := help
.PHONY: help install demo test check format docs run fake-ollama lock conformance bench deep mutants soak clean

help:  ## Show this
	@echo "make TARGET, where TARGET is one of"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## Set up .venv with everything that development needs

$(STAMP):
	@echo "setting up $(VENV), once ..."
ifneq ($(UV),)
	@test -x $(BIN)/python || $(UV) venv --quiet --python '>=3.11' $(VENV)
	@$(UV) pip install --quiet --python $(BIN)/python -e '.[$(EXTRAS)]'
else
	@$(MAKE) --no-print-directory python
	@test -x $(BIN)/pip || { rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	@PYTHONWARNINGS=ignore $(BIN)/pip install --quiet -e '.[$(EXTRAS)]'
endif
	@rm -f $(VENV)/.installed-*
	@touch $@

.PHONY: python
python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "This Python cannot make environments. On Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }

demo: $(STAMP)  ## Try it: a simulated Ollama and the gateway in one terminal
	@$(BIN)/tornado-gateway demo $(if $(PORT),--port $(PORT))

test: check  ## Everything that must hold before a commit: check, then all tests
	@$(BIN)/python -m pytest

check: $(STAMP)  ## Format, lint, types, spelling, printed documentation
	@$(BIN)/ruff format --check --quiet . || { echo "some files are not formatted: make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/codespell
	@$(BIN)/cog --check -I docs $(DOCS) || { echo "printed documentation is not fresh: make docs" >&2; exit 1; }

format: $(STAMP)  ## Format the code
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

docs: $(STAMP)  ## Print tables of hooks, settings, fields and errors into the documentation
	@$(BIN)/cog -r -I docs $(DOCS)

run: $(STAMP)  ## Serve as config.yaml says
	@$(BIN)/tornado-gateway serve

fake-ollama: $(STAMP)  ## The simulated Ollama alone, where Ollama would listen
	@$(BIN)/python -m tornado_gateway.testing --port $(or $(PORT),11434)

lock: $(STAMP)  ## Write requirements.lock, with hashes, for deployments: pip install --require-hashes -r requirements.lock
ifneq ($(UV),)
	@$(UV) pip compile --quiet --generate-hashes --universal --python-version 3.11 --extra speed -o requirements.lock setup.py
else
	@$(BIN)/pip install --quiet pip-tools
	@$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-find-links --no-emit-index-url --extra speed -o requirements.lock setup.py
endif

conformance: $(STAMP)  ## Drive OpenAI's own OpenAPI document against the gateway; takes minutes, fetches it from PyPI once
	@PYTHONPATH=.:tests $(BIN)/python -m conformance.openapi

bench: $(STAMP)  ## Measure CPU time per request and per token
	@$(BIN)/python -m bench

deep: $(STAMP)  ## The cases of faults and the fuzz targets in full: for an evening
	@HYPOTHESIS_PROFILE=deep PYTEST_TIMEOUT=36000 $(BIN)/python -m pytest tests/faults tests/wire

mutants: $(STAMP)  ## Take one protection away at a time: which case goes red?
	@$(BIN)/python tests/faults/run_mutants.py

soak: $(STAMP)  ## Ten minutes of load, with targets beside the figures; QUICK=1 for one minute
	@$(BIN)/python -m bench.soak

clean:  ## Remove what was made: environment, caches, builds
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
