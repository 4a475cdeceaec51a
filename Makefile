PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
FAST := -m "not slow and not long"

.PHONY: demo test test-fast test-all lint format clean

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e .
	@$(BIN)/python -c 'import lightgbm' 2>/dev/null || { echo "LightGBM needs the system's OpenMP library:" \
	  "apt install libgomp1, dnf install libgomp or brew install libomp, then make again" >&2; exit 1; }
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/weightprint demo weightprint-demo

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -n 2 -m "not long"

test-fast: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n 2 $(FAST)

test-all: lint
	$(BIN)/python -m pytest -n 2

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis weightprint-demo
