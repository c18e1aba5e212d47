# The front door: `make demo`, `make test`, `make lint`, `make bench`, `make hammer`, `make completions`, `make clean`.
# Only Python 3.11 or newer and make are needed; everything else goes into .venv.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin

.PHONY: demo test lint bench hammer completions clean install

install: .venv/installed
demo: .venv/installed-demo
	@$(BIN)/tmsync demo

test: .venv/installed
	@$(BIN)/python -m tests.surroundings
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed
	$(BIN)/python -m tests.bench.run

hammer: .venv/installed
	$(BIN)/python -m tests.core.twcmanager.hammer

completions: .venv/installed
	$(BIN)/python -m tests.generate

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist bench-results
	find tmsync tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@if [ -z "$(PYTHON)" ]; then echo "make: no Python 3.11 or newer found; name one with PYTHON=..." >&2; exit 1; fi
	@"$(PYTHON)" -m venv .venv || { rm -rf .venv; echo "make: $(PYTHON) cannot make a virtual environment;" \
		"on Debian: sudo apt-get install python3-venv" >&2; exit 1; }

.venv/installed: pyproject.toml .venv/bin/python
	@echo "Installing tmsync and its development tools into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -m compileall -q tmsync
	@touch .venv/installed .venv/installed-demo

.venv/installed-demo: pyproject.toml .venv/bin/python
	@echo "Installing tmsync into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@$(BIN)/python -m compileall -q tmsync
	@touch .venv/installed-demo
