# `make demo` and `make test` need Python 3.11 or newer, git and make; they set up .venv in this folder by themselves.
# Another Python: make test PYTHON=/path/to/python3.12

VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint constraints.txt
PYTHON ?=

# Bytecode is kept, also where the environment says otherwise: the tests start some hundred Pythons.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo serve-demo test quick browser docs audit install clean
.DEFAULT_GOAL := demo

demo: $(VENV)/default.stamp  ## draw a dozen scenes, inspect them, compare with the ground truth
	$(BIN)/toeline demo --out runs/demo

serve-demo: runs/demo/run.json $(VENV)/serve.stamp  ## draw scenes, inspect them, and open the page on which they are reviewed
	$(BIN)/toeline serve import runs/demo --store runs/review
	@(sleep 3; $(BIN)/python -m webbrowser http://127.0.0.1:8765/review) >/dev/null 2>&1 &
	$(BIN)/toeline serve --store runs/review

runs/demo/run.json:
	$(MAKE) demo

# The tests in a browser are part of it where a browser is; elsewhere they are skipped, and it is said why.
test: $(VENV)/dev.stamp $(if $(shell command -v chromium || command -v chromium-headless-shell),$(VENV)/browser.stamp)  ## exactly what CI runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --durations=15 --durations-min=1

quick: $(VENV)/dev.stamp  ## what a developer runs at each save: no training, no other process
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow"

browser: $(VENV)/browser.stamp  ## only the tests in Debian's chromium: the review by keys, and every page for screen readers
	$(BIN)/python -m pytest -q -rs -n 2 --dist worksteal tests/serve/browser tests/report/test_axe.py

docs: $(VENV)/docs.stamp  ## the documentation as a site, in site/; a link that leads nowhere fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Written: site/index.html"

audit: $(VENV)/audit.stamp  ## known vulnerabilities of the versions in constraints.txt; asks the index for its advisories, so it is no part of test
	$(VENV)/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

install: $(VENV)/dev.stamp

clean:
	rm -rf $(VENV) runs site dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Candidates are run, not only looked up: a version manager's shim can exist without a Python behind it.
$(BIN)/python:
	@for py in "$(PYTHON)" python3 python3.11 python3.12 python3.13 python3.14 python; do \
	  test -n "$$py" || continue; \
	  if "$$py" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "Setting up $(VENV) with $$("$$py" --version)"; exec "$$py" -m venv $(VENV); \
	  fi; \
	done; \
	echo "No Python 3.11 or newer (with its venv module) was found as python3, python3.11, ..." >&2; \
	echo "Install one, or name it: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3.12" >&2; exit 1

# A stamp is older than pyproject.toml or constraints.txt only when those changed: then, and only then, pip runs again.
$(VENV)/default.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing toeline (the first time takes a few minutes)"
	$(PIP) --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/default.stamp
	$(PIP) --editable '.[dev]'
	@touch $@

$(VENV)/serve.stamp: $(VENV)/default.stamp
	$(PIP) --editable '.[serve]'
	@touch $@

$(VENV)/browser.stamp: $(VENV)/dev.stamp
	$(PIP) --editable '.[browser]'
	@touch $@

# In an environment of its own: what pip-audit needs is pinned nowhere, and must not exchange what is.
$(VENV)/audit.stamp: | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/audit
	PIP_DISABLE_PIP_VERSION_CHECK=1 $(VENV)/audit/bin/python -m pip install --quiet pip-audit
	@touch $@

$(VENV)/docs.stamp: $(VENV)/default.stamp
	$(PIP) --editable '.[docs]'
	@touch $@
