# Everything a fresh clone needs: `make demo` and `make test` set up what they use.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
NATIVE := CMakeLists.txt $(wildcard cmake/* native/*.*)
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv install compilers native page demo test sanitize emulate lint format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(BIN)/python ## Make the Python environment in .venv

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "PERSE needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; } # half an environment would pass for one

install: $(INSTALLED) ## Install PERSE and its tools into .venv, building the native rasterizer

# Redone when the dependencies or the native code change; new Python files are found without it.
$(INSTALLED): pyproject.toml $(NATIVE) | $(BIN)/python
	@echo "Installing PERSE into $(VENV): some minutes, about 2 GB."
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

# What builds native code outside of pip, which brings its own.
compilers: | $(BIN)/python
	@test -x $(BIN)/cmake -a -x $(BIN)/ninja && $(BIN)/python -c 'import nanobind' 2>/dev/null \
		|| $(BIN)/python -m pip install --quiet 'cmake>=3.24' ninja 'nanobind>=2.4,<4'

native: compilers ## Build only the rasterizer, for work with PYTHONPATH=src (make install builds it too)
	$(BIN)/cmake -S . -B build/native -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
		-DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python -DCMAKE_BUILD_TYPE=Release
	$(BIN)/cmake --build build/native
	@for file in build/native/_native*.so; do \
		to=src/perse/$$(basename $$file); cp $$file $$to.new && mv -f $$to.new $$to; \
	done # renamed, so that programs that have the old one loaded live on

page: ## Build the page that `perse export` writes, out of web/ (needs npm; the built page is in the repository)
	tools/build_page.sh

demo: install ## Build the avatar of the bundled portrait into runs/demo
	$(BIN)/perse build --portrait astronaut --out runs/demo --preset demo

test: install ## Run every test
	$(BIN)/python -m pytest $(PYTEST_ARGS)

sanitize: install compilers ## Check the native code under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer
	PYTHON=$(BIN)/python tools/check_native.sh plain address thread python

emulate: ## Check the native code on emulated processors: arm64, and x86 without AVX-512, AVX2 and SSE4
	tools/check_native.sh older arm64

lint: install ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if command -v npm >/dev/null; then tools/build_page.sh --check; else echo "no npm: web/ is not checked"; fi

format: install ## Put the code into the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what was built, not runs/ and not the asset cache
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/perse/*.so
