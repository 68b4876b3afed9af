PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check docs bench train browser clean

run: $(VENV)/.run
	$(BIN)/python app.py serve

# One process a core, each on one thread: most of what the tests compute is too small for more.
# The page's come after them, as a browser and a server fill two cores by themselves.
test: $(VENV)/.dev browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --ignore tests/ui
	$(BIN)/python -m pytest tests/ui

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The picture of the layers in docs/architecture.md, drawn from the imports.
docs: $(VENV)/.dev
	$(BIN)/python -m tests.helpers.house.layers

bench: $(VENV)/.run
	$(BIN)/python -m bench

train: $(VENV)/.run
	$(BIN)/python -m pip install -q -r training/requirements.txt
	$(BIN)/python -m training.run_all

browser: $(VENV)/.dev
	sh tests/browser.sh $(BIN)/python

$(VENV)/.run: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-openvino.txt requirements-annotators.txt requirements-quantize.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	$(BIN)/python app.py fetch-annotators
	touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
