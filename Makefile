# make demo    install the environment, then run the main experiment
# make lint    install, then style, imports and types
# make check   make lint, then the fast tests
# make test    install, then all tests but those that need a GPU or are marked soak
# make soak    install, then the long tests: random kills, fuzzing, load
# make bench   install, then time what can get slower unseen; --benchmark-compare shows the drift from the last
# make hashes  renew requirements.hashes and requirements-dev.hashes from the lock files (needs uv)
# make sbom    outputs/sbom.json: a bill of materials of what is installed (CycloneDX)
# make audit   look the locked versions up among known vulnerabilities; fails where the service cannot be asked
# make ui      the MLflow pages of what was tracked
# make clean   remove the environment and everything that runs wrote
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# Python keeps what it has compiled, even where an image's variable says that it must not: else each process compiles
# torch, Lightning and MLflow anew, which takes as long as importing them.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --durations=15 --durations-min=10
# --no-compile: Python compiles what it imports at the first import; that is a small part of what is installed.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile
RUN := $(VENV)/.run
DEVELOP := $(VENV)/.develop

.PHONY: demo lint check test bench soak hashes sbom audit ui clean

demo: $(RUN)
	$(BIN)/python -m longsafety +experiment=mix_ablation

lint: $(DEVELOP)
	$(BIN)/ruff check longsafety tests
	$(BIN)/ruff format --check longsafety tests
	$(BIN)/lint-imports
	$(BIN)/mypy longsafety tests

check: lint
	$(PYTEST) -m "not gpu and not slow and not soak"

test: $(DEVELOP)
	$(PYTEST) -m "not gpu and not soak"

bench: $(DEVELOP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --benchmark-only --benchmark-autosave --benchmark-columns=median,iqr,rounds tests/benchmarks

soak: $(DEVELOP)
	$(PYTEST) -m "soak and not gpu"

HASH := uv pip compile --quiet --no-deps --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
# torch is left out: the index decides between its builds, which have other hashes.
hashes:
	$(HASH) --no-emit-package torch requirements.lock -o requirements.hashes
	grep -v '^-r' requirements-dev.lock | $(HASH) - -o requirements-dev.hashes

sbom: $(DEVELOP)
	mkdir -p outputs
	$(BIN)/python -m tests.sbom > outputs/sbom.json

# In an environment of its own. --strict: a package that the service does not tell of is a failure, not a pass.
audit: $(RUN)
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet pip-audit
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --no-deps -r requirements.lock

ui: $(RUN)
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(CURDIR)/outputs/mlflow.db

# What a run needs, each file by its hash, then torch and what its build pins; the project itself is installed in place.
# Made again when the lock file changes.
$(RUN): requirements.lock requirements.hashes pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "longsafety needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --no-deps -r requirements.hashes
	$(PIP) -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

# What tests and checks need besides.
$(DEVELOP): $(RUN) requirements-dev.hashes
	$(PIP) --require-hashes --no-deps -r requirements-dev.hashes
	touch $@

clean:
	rm -rf $(VENV) outputs/*
