# `make run` and `make test` create .venv when it is missing and install the pinned versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test lint unit pictures pages benchmarks clean

run: .venv/.run
	$(BIN)/cloudchamber run

# Both at once: tests now and then wait for processes that they start.
test: .venv/.test
	@$(MAKE) --no-print-directory --jobs 2 lint unit

unit: .venv/.test
	$(BIN)/pytest --numprocesses 2 --dist loadfile

lint: .venv/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

pictures: .venv/.run
	$(BIN)/python docs/make_pictures.py

pages: .venv/.run
	$(BIN)/python docs/make_pages.py

benchmarks: .venv/.run
	$(BIN)/python benchmarks/observation_cost.py
	$(BIN)/python benchmarks/observing.py
	$(BIN)/python benchmarks/measures.py
	$(BIN)/python benchmarks/ensembles.py
	$(BIN)/python benchmarks/merging_nets.py build/merging
	$(BIN)/python benchmarks/merging.py --afresh build/merging
	$(BIN)/python benchmarks/merging.py --quick
	$(BIN)/python benchmarks/merging.py --table
	$(BIN)/python benchmarks/merging_heads.py --afresh
	$(BIN)/python benchmarks/merging_heads.py --table

.venv/.run: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("cloudchamber needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/.test: .venv/.run
	$(BIN)/pip install --quiet --editable '.[dev,papers,ray]'
	touch $@

clean:
	rm -rf .venv dist build
