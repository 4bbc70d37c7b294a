# Everything runs in .venv, made on first use and renewed when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO ?= demo-out

.PHONY: help demo test test-slow lint types check bench api dist smoke clean

help:
	@echo "make demo       build a clip, de-identify it, print where before and after are"
	@echo "make test       run the tests"
	@echo "make test-slow  run the tests that take minutes, too"
	@echo "make lint       check the style;  make types: check the types"
	@echo "make bench      time deid beside deface"
	@echo "make api        write docs/api.md anew out of docstrings"
	@echo "make dist       build the wheel and the source archive of the last commit;  make smoke: try the wheel out"
	@echo "make clean      remove .venv and everything built"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || { \
	  echo "deid needs Python 3.10, 3.11 or 3.12, and $(PYTHON) is none of them; name one: make PYTHON=python3.11 ..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
	  $(BIN)/python -c 'import cv2' 2>&1 | tail -n 1 >&2; \
	  echo "OpenCV does not load; it needs system libraries, on Debian and Ubuntu: apt-get install libgl1 libglib2.0-0" >&2; exit 1; }
	@touch $@

demo: $(STAMP)
	@$(BIN)/deid demo -o $(DEMO) --overwrite

test: $(STAMP)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-slow: $(STAMP)
	@$(BIN)/python -m pytest -m "slow or not slow" --timeout=1800 $(PYTEST_ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check .

types: $(STAMP)
	@$(BIN)/mypy

check: lint types test

bench: $(STAMP)
	@$(BIN)/python benchmarks/vs_deface.py

api: $(STAMP)
	@$(BIN)/python tools/write_api.py

dist: $(STAMP)
	@$(BIN)/python tools/archives.py build dist

smoke: dist
	@$(BIN)/python tools/archives.py smoke dist

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis $(DEMO)
