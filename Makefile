# `make demo` and `make test` work on a fresh machine with Python 3.11 or newer: each makes .venv and installs first.
PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-adapters run-adapters test-distributed run-distributed lint bench docs floors clean

demo: $(VENV)/.demo
	$(VENV)/bin/nirank demo

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal

# Adapters to libraries that the other tests do without, in an environment of its own.
test-adapters:
	$(MAKE) VENV=$(VENV)-adapters run-adapters

run-adapters: $(VENV)/.adapters
	$(VENV)/bin/python -m pytest tests/plugins/test_adapters_*.py

# Several hosts, and the servers that these tests start, in an environment of its own. Most of the time is waiting for
# servers, so that a few files of tests run beside one another.
test-distributed:
	$(MAKE) VENV=$(VENV)-distributed run-distributed

run-distributed: $(VENV)/.distributed
	$(VENV)/bin/python -m pytest tests/distributed -n 3 --dist loadfile

lint: $(VENV)/.test
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

bench: $(VENV)/.bench
	$(VENV)/bin/python benchmarks/speed.py

docs: $(VENV)/.test
	$(VENV)/bin/python -m sphinx -W -c docs . build/docs

floors:
	$(PYTHON) tests/floors.py

clean:
	rm -rf $(VENV) $(VENV)-adapters $(VENV)-distributed build dist

# torch goes first and alone, so that pip settles on the constrained build before anything else asks for one.
$(VENV)/.%: pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable '.[$*]'
	touch $@
