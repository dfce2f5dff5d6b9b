# `make demo` and `make test` work on a fresh clone; everything goes into .venv and runs/.
PYTHON ?= python3
BIN := .venv/bin
EXTRAS ?= dev,viz

.PHONY: setup demo test test-all fuzz soak lint parity solver site site-serve release clean

setup: .setup-stamp

.setup-stamp: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$(EXTRAS)]"
	@touch $@

demo: setup
	@$(BIN)/trm demo

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/pytest -m "not slow"

test-all: lint
	$(BIN)/pytest

# The tests that make up their own input, with many more cases than `make test` gives them.
CASES ?= 10000
fuzz: setup
	TRM_FUZZ=$(CASES) $(BIN)/pytest $$(grep -rl --include='test_*.py' TRM_FUZZ tests)

# Training that is killed, stopped, damaged and disturbed at random, and watched for leaks.
soak: setup
	$(BIN)/python -m benchmarks.soak --minutes 20

parity: setup
	$(BIN)/trm parity tests/testdata

# The documents as a site, in build/site/html: strictly, what a page names and is not there fails. Notebooks are run for it.
# The page that solves puzzles is in it where npm can fetch what it needs.
site: .site-stamp $(if $(shell command -v npm),solver) $(patsubst docs/notebooks/%.py,build/notebooks/%.py.md,$(wildcard docs/notebooks/*.py))
	@$(BIN)/python site/pages.py build/site build/notebooks
	$(BIN)/zensical build --strict --config-file build/site/zensical.toml
	@$(BIN)/python site/links.py build/site/html

build/notebooks/%.py.md: docs/notebooks/%.py .site-stamp
	$(BIN)/python site/notebook.py $< build/notebooks

.site-stamp: .setup-stamp
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[site]"
	@touch $@

PORT ?= 8000
site-serve: site
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site/html $(PORT)

# What would be published, in build/dist: built, checked, installed into a fresh environment and used there.
release: .release-stamp
	$(BIN)/python .ci/versions.py $(TAG)
	@rm -rf build/dist
	$(BIN)/python -m build --outdir build/dist
	$(BIN)/twine check --strict build/dist/*
	.ci/try_wheel build/dist/*.whl docs/notebooks/solve_and_look_inside.py

.release-stamp: .setup-stamp
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[release]"
	@touch $@

# The page that solves puzzles, with runtime and models, as files for any web server: build/solver. Needs npm.
RUNTIME := build/runtime/node_modules/onnxruntime-web/dist
solver: setup $(RUNTIME)
	@rm -rf build/solver
	@$(BIN)/trm view sudoku-extreme maze-perfect --save build/solver --runtime $(RUNTIME)

$(RUNTIME): site/runtime/package.json site/runtime/package-lock.json
	@mkdir -p build/runtime && cp $^ build/runtime
	npm ci --prefix build/runtime --ignore-scripts --no-audit --no-fund
	@touch $@

clean:
	rm -rf .venv .setup-stamp .site-stamp .release-stamp build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
