# `make demo` and `make test` work on a fresh machine with Python 3.11 or newer: each makes .venv and installs first.
PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint bench docs floors clean

demo: $(VENV)/.demo
	$(VENV)/bin/nirank demo

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal

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
	rm -rf $(VENV) build dist

# torch goes first and alone, so that pip settles on the constrained build before anything else asks for one.
$(VENV)/.%: pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable '.[$*]'
	touch $@
