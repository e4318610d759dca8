# make demo, make test, make lint, make docs, make bench, make clean. The README has the same as plain pip commands.
PYTHON ?= python3
BIN := .venv/bin
METADATA := setup.cfg pyproject.toml torch_symbreak/_version.py

.PHONY: demo test lint docs bench clean

demo: .venv/.installed-experiments
	$(BIN)/symbreak reproduce farfield --preset quick --overwrite

test: lint
	$(BIN)/python -m pytest -n auto --slow

lint: .venv/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: .venv/.installed-docs
	$(BIN)/python -m sphinx -b html -E -W --keep-going -n docs build/docs

bench: .venv/.installed-test
	$(BIN)/python -m benchmarks

# One environment for both: the extra that a goal needs is installed into it when the metadata changed.
.venv/.installed-%: $(METADATA)
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'torch_symbreak needs Python 3.11 or newer: make PYTHON=python3.11')"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --editable ".[$*]"
	touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis symbreak-out
