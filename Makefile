# The front door: `make demo`, `make test`, `make lint`, `make bench`, `make completions`, `make deb`, `make clean`; and for hours
# of patience: `make hammer`, `make soak`, `make soak-watch`, `make faults`, `make fuzz` (SECONDS=600),
# `make test-twcmanager` (the released TWCManager itself, which wants Python 3.11), `make test-homeassistant` (Home Assistant
# itself), `make test-versions` (the oldest and the newest dependencies allowed); and `make lock`, `make audit`.
# Only Python 3.11 or newer and make are needed; everything else goes into .venv.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
PYTHON311 ?= $(shell for p in python3.11 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
TWCMANAGER := .venv-twcmanager
SECONDS ?= 60
# Twice as many as cores: most tests wait for servers. Stolen work, so that no worker is left with the long ones.
WORKERS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
PARALLEL ?= -n $(WORKERS) --dist worksteal
LOCK := tests/requirements-dev.lock

.PHONY: demo test test-slow test-root test-all test-twcmanager test-homeassistant test-versions lint bench hammer soak soak-watch faults fuzz lock audit completions picture dist-check deb clean install

install: .venv/installed
demo: .venv/installed-demo
	@$(BIN)/tmsync demo

# All but what takes long or needs root; whatever it needs it brings itself.
test: .venv/brought
	@$(BIN)/python -m tests.support.surroundings
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not root"

# What make test leaves out, and what needs root where this is root.
test-slow: .venv/brought
	$(BIN)/python -m pytest $(PARALLEL) -m "slow and not root"

test-root: .venv/brought
	@if [ "$$(id -u)" = 0 ]; then $(BIN)/python -m pytest $(PARALLEL) -m "root and not machine" \
		&& $(BIN)/python -m pytest -m machine; \
		else echo "test-root: skipped: it needs root"; fi

test-all: test test-slow test-root

# Where there is no Python 3.11 it says so, and that is all.
test-twcmanager: .venv/installed
	@if [ -z "$(PYTHON311)" ]; then echo "test-twcmanager: skipped: TWCManager 1.3.2 wants Python 3.11, and there is none here" \
		"(name one with PYTHON311=...)"; else $(MAKE) --no-print-directory $(TWCMANAGER)/installed && \
		TMSYNC_TEST_TWCMANAGER="$(CURDIR)/$(TWCMANAGER)/bin/python" $(BIN)/python -m pytest $(PARALLEL) tests/released; fi

# Home Assistant itself, in its own environment, with Debian's Python where there is none for it; where neither is to be
# had it says so, and that is all.
test-homeassistant: .venv/brought
	@python=$$($(BIN)/python -m tests.homeassistant.bring $(PYTHON313)) || { echo "test-homeassistant: skipped"; exit 0; }; \
		TMSYNC_TEST_HOMEASSISTANT="$$python" $(BIN)/python -m pytest tests/homeassistant

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/brought
	$(BIN)/python -m tests.bench.run

hammer: .venv/installed
	$(BIN)/python -m tests.twcmanager.hammer

# Two hours each; SOAK takes what python -m tests.soak.serve --help lists, such as SOAK="--duration 600 --cars 50".
soak: .venv/brought
	$(BIN)/python -m tests.soak.serve $(SOAK)

soak-watch: .venv/brought
	$(BIN)/python -m tests.soak.watch $(SOAK)

faults: .venv/brought
	$(BIN)/python -m tests.faults.handshakes

fuzz: .venv/brought
	$(BIN)/python -m tests.hostile.effort $(SECONDS)

# Every one whatever the first one says; without PYTEST=... the whole suite.
test-versions: .venv/installed
	@failed=0; for end in oldest newest debian; do $(BIN)/python -m tests.versions $$end $(PYTEST) || failed=1; done; exit $$failed

lock: .venv/installed
	$(BIN)/python -m tests.supply lock

audit: .venv/installed
	@$(BIN)/python -m tests.supply audit

completions: .venv/installed
	$(BIN)/python -m tests.generate

picture: .venv/brought
	$(BIN)/python -m tests.picture

# A wheel and an sdist, each installed into an empty environment, and the demo run there. PYTHONS: with which ones.
PYTHONS ?= $(PYTHON)
dist-check: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build
	rm -rf dist && $(BIN)/python -m build --quiet
	@for python in $(PYTHONS); do for file in dist/*.whl dist/*.tar.gz; do \
		place=$$(mktemp -d) && "$$python" -m venv "$$place/venv" && echo "== $$python, $$file" \
		&& "$$place/venv/bin/pip" install --quiet --disable-pip-version-check "$$file[demo]" \
		&& (cd / && "$$place/venv/bin/tmsync" --version && "$$place/venv/bin/tmsync" demo --duration 5 >"$$place/told" \
			|| { cat "$$place/told"; exit 1; }) && tail -1 "$$place/told" || exit 1; rm -rf "$$place"; done; done

# The Debian package, in dist/; Debian 12 or newer, for every architecture.
deb: .venv/installed
	@rm -f dist/*.deb && $(BIN)/python packaging/deb.py

clean:
	rm -rf .venv $(TWCMANAGER) .venv-homeassistant .venv-oldest .venv-newest .venv-debian .venv-audit .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist bench-results
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

# Programs that no wheel ships, Mosquitto above all, for the tests.
.venv/brought: .venv/installed tests/support/bring.py
	@$(BIN)/python -m tests.support.bring
	@touch .venv/brought

.venv/installed-demo: pyproject.toml .venv/bin/python
	@echo "Installing tmsync into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@$(BIN)/python -m compileall -q tmsync
	@touch .venv/installed-demo

$(TWCMANAGER)/installed:
	@echo "Installing TWCManager 1.3.2 into $(TWCMANAGER) ..."
	@rm -rf $(TWCMANAGER)
	@"$(PYTHON311)" -m venv $(TWCMANAGER)
	@$(TWCMANAGER)/bin/python -m pip install --quiet --disable-pip-version-check 'twcmanager==1.3.2' 'growattServer<2.2'
	@touch $(TWCMANAGER)/installed
