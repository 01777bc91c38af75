# Everything runs in .venv, which is made on first use and made anew when the pins change.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

# Nodes of examples/cluster-onprem.yaml do not have the second.
REQUIREMENTS := requirements.txt $(wildcard requirements-aws.txt)

.PHONY: sweep test packages chaos bench check format clean

sweep: .venv/installed
	$(BIN)/tuning sweep cnn
	@echo "to have tuning at hand: source .venv/bin/activate"

test: .venv/installed
	$(BIN)/python -m tests

packages:
	@tests/packages.sh || echo "what is missing could not be installed: the tests that need it skip"

# Everything that can die is killed at every moment: an hour on two cores, of which its last line tells.
chaos: .venv/installed
	$(BIN)/python -m tests.chaos

check: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed
	$(BIN)/python -m benchmarks

# uv installs the pins in half a minute and compiles them in another, without which every start
# takes twice as long; where it cannot (an index that only pip knows), pip does. In compat mode this project
# is found by a path: with setuptools' own finder a folder of the same name, as that which one has cloned into,
# would hide it from scripts beside it.
.venv/installed: $(REQUIREMENTS) pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed, but this is " + sys.version)'
	@echo "Setting up .venv, once: two minutes, the second one in silence, and 7 GB ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^uv==' requirements.txt) || true
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --compile-bytecode $(REQUIREMENTS:%=-r %) 2>&1 | grep -v -e '^ [-+~] ' -e '^Uninstalled' \
		|| $(BIN)/python -m pip install --disable-pip-version-check $(REQUIREMENTS:%=-r %)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--config-settings editable_mode=compat -e .
	@touch $@

clean:
	rm -rf .venv
