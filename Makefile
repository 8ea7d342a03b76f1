# Needs Python 3.11 or later with venv, make and git. `make help` lists the targets.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
WORKERS     ?= 2
PYTEST_ARGS ?=
DEMO_ARGS   ?=
INCIDENT    ?= build/incident
ASSURANCE_ARGS ?=
MUTANTS_ARGS ?=
MINUTES     ?= 60
BENCH_ARGS  ?=

# Hashes decide what may be installed. Wheels only: building a source archive would run code that no lock file names.
# On a platform without wheels: make PIP_WHEELS= ...
PIP_WHEELS  ?= --only-binary :all:
PIP         := $(BIN)/python -m pip --disable-pip-version-check --no-input
PIP_LOCKED  := $(PIP) install --quiet --require-hashes $(PIP_WHEELS)

RUN_READY  := $(VENV)/.run-ready
DEV_READY  := $(VENV)/.dev-ready
BENCH_READY := $(VENV)/.bench-ready
MUTANTS_READY := $(VENV)/.mutants-ready
LOCK_READY := $(VENV)/.lock-ready

export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo incident test test-slow assurance assurance-long assurance-selftest bench bench-quick lint check install format docs lock clean

help:
	@echo "make demo     install, then run the whole story on a small project (DEMO_ARGS=...)"
	@echo "make incident install, then play a breach and its containment; the report is in $(INCIDENT)/report"
	@echo "make test     install the tools too, then run all tests with coverage (PYTEST_ARGS=...)"
	@echo "make test-slow  the tests that need minutes and gigabytes: 4 GiB sealed and opened"
	@echo "make assurance  attack the claims for a quarter of an hour; one table (ASSURANCE_ARGS=..., assurance-long: hours)"
	@echo "make assurance-selftest  delete one check at a time, and see what catches it"
	@echo "make mutants  which changes of the core no test notices, from a random sample (MINUTES=60, MUTANTS_ARGS=...)"
	@echo "make bench    speed, memory and size beside peers and limits: a table, benchmarks/out/ (BENCH_ARGS=...)"
	@echo "make bench-quick  the same with small sizes, to see that it runs"
	@echo "make bench-million  row 12 with a million items sealed, not only their catalog"
	@echo "make lint     ruff, mypy, import contracts, comparisons of secrets"
	@echo "make check    lint and test"
	@echo "make format   let ruff mend layout and imports"
	@echo "make install  the development environment in $(VENV), and nothing else"
	@echo "make docs     write docs/api/, the diagrams and docs/assurance.md again"
	@echo "make lock     write requirements/*.txt again (UPGRADE=1: newest versions)"
	@echo "make clean    remove all that make and the tools wrote"

demo: $(RUN_READY)
	$(BIN)/labelvault demo $(DEMO_ARGS)

# The folder of an earlier run is this target's own; one that you name yourself has to be new or empty.
incident: $(RUN_READY)
	rm -rf build/incident
	$(BIN)/labelvault demo --incident --keep $(INCIDENT) $(DEMO_ARGS)

install: $(DEV_READY)

# pytest's closing line comes last.
test: $(DEV_READY)
	$(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=term $(PYTEST_ARGS)

test-slow: $(DEV_READY)
	$(BIN)/python -m pytest -m slow -rP $(PYTEST_ARGS)

# A slice of the same checks is in `make test`.
assurance: $(DEV_READY)
	$(BIN)/python -m tests.assurance $(ASSURANCE_ARGS)

assurance-long: $(DEV_READY)
	$(BIN)/python -m tests.assurance --profile long $(ASSURANCE_ARGS)

.PHONY: mutants
mutants: $(MUTANTS_READY)
	rm -rf mutants
	$(BIN)/python -m tests.mutants --minutes $(MINUTES) $(MUTANTS_ARGS)

bench: $(BENCH_READY)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

bench-quick: $(BENCH_READY)
	$(BIN)/python -m benchmarks --quick $(BENCH_ARGS)

.PHONY: bench-million
bench-million: $(BENCH_READY)
	$(BIN)/python -m benchmarks --long --rows 12 $(BENCH_ARGS)

# The checks themselves: copies of the library with one check deleted each have to fail them.
assurance-selftest: $(DEV_READY)
	$(BIN)/python -m tests.assurance.selftest $(ASSURANCE_ARGS)

lint: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy labelvault tests benchmarks $(wildcard examples/*.py docs/*.py)
	$(BIN)/lint-imports
	$(BIN)/python -m tests.assurance.constant_time

# `make check test` in one call runs the tests once.
check: lint test

format: $(DEV_READY)
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

docs: $(DEV_READY)
	$(BIN)/python docs/build_api.py
	$(BIN)/python docs/build_diagrams.py
	$(BIN)/python docs/build_assurance.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(RUN_READY): requirements/build.txt requirements/run.txt pyproject.toml | $(BIN)/python
	$(PIP_LOCKED) -r requirements/build.txt -r requirements/run.txt
	$(PIP) install --quiet --no-index --no-deps --no-build-isolation --editable .
	$(PIP) check
	@touch $@

$(DEV_READY): $(RUN_READY) requirements/dev.txt
	$(PIP_LOCKED) -r requirements/dev.txt
	@touch $@

$(BENCH_READY): $(RUN_READY) requirements/bench.txt
	$(PIP_LOCKED) -r requirements/bench.txt
	@touch $@

$(MUTANTS_READY): $(DEV_READY) requirements/mutants.txt
	$(PIP_LOCKED) -r requirements/mutants.txt
	@touch $@

$(LOCK_READY): requirements/lock.txt | $(BIN)/python
	$(PIP_LOCKED) -r requirements/lock.txt
	@touch $@

lock: export UV_CUSTOM_COMPILE_COMMAND := make lock
lock: UV := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade)
lock: $(LOCK_READY)
	$(UV) requirements/lock.in -o requirements/lock.txt
	$(UV) requirements/build.in -o requirements/build.txt
	$(UV) pyproject.toml --extra cli -o requirements/run.txt
	$(UV) pyproject.toml --extra cli --extra service --extra parquet --extra keyring --extra quorum --extra examples --extra dev -c requirements/run.txt -o requirements/dev.txt
	$(UV) pyproject.toml --extra cli --extra service --extra bench -c requirements/dev.txt -o requirements/bench.txt
	$(UV) pyproject.toml --extra cli --extra service --extra parquet --extra keyring --extra quorum --extra examples --extra dev --extra mutants -c requirements/dev.txt -o requirements/mutants.txt

clean:
	rm -rf $(VENV) benchmarks/out build dist mutants *.egg-info .coverage .coverage.* htmlcov \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
