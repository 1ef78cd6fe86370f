# make demo: environment, then the main job. make test: environment, then the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal
READY := $(VENV)/.ready

.PHONY: demo test check ui clean

demo: $(READY)
	$(BIN)/python -m longsafety +experiment=mix_ablation

test: $(READY)
	$(PYTEST) -m "not gpu"

check: $(READY)
	$(BIN)/ruff check longsafety tests
	$(BIN)/ruff format --check longsafety tests
	$(BIN)/mypy longsafety
	$(PYTEST) -m "not gpu and not slow"

ui: $(READY)
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/outputs/mlflow.db

# The environment is made anew when the lock file changes; the project itself is installed in place.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "longsafety needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf $(VENV) outputs/*
