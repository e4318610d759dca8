# make demo, make test, make lint, make docs, make bench, make clean. The README has the same as plain pip commands.
# For maintainers: make test-oldest (torch 2.6), make release-check (wheel and sdist).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
METADATA := setup.cfg pyproject.toml torch_symbreak/_version.py

.PHONY: demo test test-oldest lint docs bench release-check clean

demo: $(VENV)/.installed-experiments
	$(BIN)/symbreak reproduce farfield --preset quick --overwrite

test: lint
	$(BIN)/python -m pytest -n auto --slow

test-oldest:
	PIP_CONSTRAINT=$(CURDIR)/.ci/oldest.txt $(MAKE) .venv-oldest/.installed-test VENV=.venv-oldest
	.venv-oldest/bin/python -m pytest -n auto --slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typed_example.py
	$(BIN)/lint-imports

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -b html -E -W --keep-going -n docs build/docs

bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks

release-check: $(VENV)/.installed-release
	.ci/release

# One environment for both: the extra that a goal needs is installed into it when the metadata changed.
$(VENV)/.installed-%: $(METADATA)
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'torch_symbreak needs Python 3.11 or newer: make PYTHON=python3.11')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable ".[$*]"
	touch $@

clean:
	rm -rf .venv .venv-oldest build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis symbreak-out docs/gallery
