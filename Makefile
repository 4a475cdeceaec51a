PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PYTHONS ?= 3.10 3.12 3.13
TWO := -n 2 --dist worksteal
FAST := -m "not slow and not long"

# Installed for development, packages are compiled when first imported: most of their files never are.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo docs test test-fast test-all test-pythons lint format clean

EXTRAS :=
PIP_OPTIONS :=
$(VENV)/installed-dev: EXTRAS := [dev]
$(VENV)/installed-long: EXTRAS := [dev,long]
$(VENV)/installed-dev $(VENV)/installed-long: PIP_OPTIONS := --no-compile

$(VENV)/installed $(VENV)/installed-dev $(VENV)/installed-long: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q $(PIP_OPTIONS) -c constraints.txt -e '.$(EXTRAS)'
	@$(BIN)/python -c 'import lightgbm' 2>/dev/null || { echo "LightGBM needs the system's OpenMP library:" \
	  "apt install libgomp1, dnf install libgomp or brew install libomp, then make again" >&2; exit 1; }
	touch $@

demo: $(VENV)/installed
	$(BIN)/weightprint demo weightprint-demo

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest $(TWO) -m "not long"

test-fast: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(TWO) $(FAST)

test-all: lint $(VENV)/installed-long
	$(BIN)/python -m pytest $(TWO)
	$(MAKE) test-pythons PYTHONS="$(lastword $(PYTHONS))"

# The fast tests on other Pythons, with torch, each in an environment of its own beside .venv. Looked for by name and
# among pyenv's.
test-pythons:
	@tested=""; missing=""; \
	for version in $(PYTHONS); do \
	  python=""; \
	  for one in python$$version $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version.*/bin/python; do \
	    if $$one -c '' >/dev/null 2>&1; then python=$$one; fi; \
	  done; \
	  if test -z "$$python"; then missing="$$missing $$version"; continue; fi; \
	  echo "== $$python: the fast tests"; \
	  test -x $(VENV)-$$version/bin/python || $$python -m venv $(VENV)-$$version || exit 1; \
	  $(VENV)-$$version/bin/pip install -q -c constraints.txt -e '.[dev]' || exit 1; \
	  $(VENV)-$$version/bin/python -m pytest $(TWO) -p no:cacheprovider $(FAST) || exit 1; \
	  tested="$$tested $$version"; \
	done; \
	echo "Pythons tested:$${tested:- none}; looked for and not found:$${missing:- none}"

docs: $(VENV)/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build -d build/site
	@echo build/site/index.html

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VENV)-3.* build *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis weightprint-demo
