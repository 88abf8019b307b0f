# make setup   the environment in .venv (needs python3 >= 3.11; PYTHON=... picks another, and
#              VENV=.venv-3.13 keeps it beside the first)
# make demo    a database that survives its storage domain, told step by step
# make test    every test but the soaks       (PYTEST="-k grant -x" narrows it; JOBS=1: one process)
# make test-bare   the same on this machine without its optional programs, headers and devices
# make lint    ruff, mypy --strict, import contracts
# make bench   the tables of speeds            (BENCH="block --only 'depth 32'" narrows it)
# make docs    the site, into build/docs       (warnings are errors, no network)
# make dist    sdist and wheel, into dist      (.ci/wheel PYTHON... tries them)
# make soak    the long runs                   (HVSIM_SOAK_SECONDS=120 PYTEST=tests/soak/test_faults.py:
#              two minutes of random faults; half an hour without)
# make mutants    faults that are planted on purpose: which tests do not notice
#              (MUTANTS="journal" narrows it)
# make coverage   the lines and branches that the tests run in their own process
# make clean   what the above made, the environment included

PYTHON ?= python3
PYTEST ?=
BENCH  ?=
MUTANTS ?=
#: The tests wait as much as they compute: three at a time fill two processors. A file of tests stays
#: in one process, in its order.
JOBS   ?= 3
SHARED := --dist loadfile --no-loadscope-reorder --max-worker-restart=0
#: The rules, whose tests are in one process.
IN_PROCESS := tests/abi tests/names tests/wire tests/xenstore tests/hypervisor tests/domain \
              tests/drivers tests/config
VENV   ?= .venv
DIST   ?= dist
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
NATIVE := $(wildcard hvsim/native/*.c hvsim/native/*.h hvsim/devnodes/library/*.c hvsim/devnodes/library/*.h)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-bare bench docs dist soak lint clean

help:
	@sed -n 's/^# //p' Makefile

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "hvsim needs Python 3.11 or newer, and '$(PYTHON)' is" \
	       "$$($(PYTHON) -V 2>&1 || true)." >&2; \
	  echo "Install one (Debian: apt install python3 python3-venv) or name it:" \
	       "make setup PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' lacks its venv module (Debian: apt install python3-venv)." >&2; exit 1; }
	@echo "Preparing $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -c 'import hvsim._native' 2>/dev/null \
	  || echo "No compiled helper (no C compiler?): the pure-Python twins serve."
	@touch $@

demo: setup
	@$(BIN)/hvsim demo

test: setup
	$(BIN)/python -m pytest -n $(JOBS) $(SHARED) $(PYTEST)

test-bare: setup
	$(BIN)/python -m tests.support.bare -- $(BIN)/python -m pytest -n $(JOBS) $(SHARED) $(PYTEST)

bench: setup
	@$(BIN)/python -m benchmarks $(BENCH)

docs: setup
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

dist: setup
	$(BIN)/python -m build --outdir $(DIST)

soak: setup
	$(BIN)/python -m pytest -m soak --timeout=0 $(PYTEST)

mutants: setup
	@$(BIN)/python -m tests.mutants $(MUTANTS)

#: What runs in domains is not seen: a domain's process is forked and ends by the kernel's hand.
coverage: setup
	@rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest -q -n 0 --timeout=600 $(IN_PROCESS) $(PYTEST)
	@$(BIN)/python -m coverage report

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv .venv-* build dist hvsim.egg-info hvsim/_native*.so hvsim/devnodes/*.so
	rm -rf .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
