# `make demo` generates images, `make test` runs the suite, `make` lists the rest.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
# Everything is pinned, also the build backend: it is installed first, and no second environment is made for the build.
INSTALL := $(PIP) install $(if $(CI),--quiet) --no-build-isolation --constraint constraints.txt
# The first of these that is Python 3.11 or newer is used; `make PYTHON=...` uses only that one.
PYTHON ?=
CANDIDATES := $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python)

.PHONY: help demo test format lint types suite evaluate bench fuzz kills rules recipes wild emoji train clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '%-14s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.run  ## generate images from examples/prompts.txt with the embedded model into out/
	$(BIN)/unnoise generate --prompts examples/prompts.txt --model emoji --seed 7 --out out/

test: $(VENV)/.dev  ## ruff, mypy, then the whole test suite
	@$(MAKE) --no-print-directory lint types
	@$(MAKE) --no-print-directory suite

format: $(VENV)/.dev  ## let ruff format the code and fix what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.dev  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev  ## mypy
	$(BIN)/mypy

suite: $(VENV)/.dev  ## the test suite alone
	$(BIN)/python -m pytest

evaluate: $(VENV)/.run  ## measure the embedded model: the figures of its card and of the README
	$(BIN)/unnoise evaluate emoji

bench: $(VENV)/.bench  ## samplers and loops against diffusers, the engine, edits, adapters and other costs, as ratios
	@$(BIN)/python bench/samplers.py
	@$(BIN)/python bench/advance.py
	@$(BIN)/python bench/cost.py
	@$(BIN)/python bench/latency.py
	@$(BIN)/python bench/engine.py
	@$(BIN)/python bench/training.py
	@$(BIN)/python bench/cache.py
	@$(BIN)/python bench/processes.py
	@$(BIN)/python bench/check.py
	@$(BIN)/python bench/foreign.py
	@$(BIN)/python bench/load.py
	@$(BIN)/python bench/editing.py
	@$(BIN)/python bench/control.py
	@$(BIN)/python bench/adapters.py
	@$(BIN)/python bench/style.py

fuzz: $(VENV)/.dev  ## mutate files of every kind for an hour, and read them
	$(BIN)/python tests/fuzz.py --minutes 60

kills: $(VENV)/.dev  ## kill trainings of one and of two processes 40 times, and compare their ends
	$(BIN)/python tests/kills.py --kills 40

rules: $(VENV)/.run  ## write docs/rules/ from the rules of `unnoise check`
	$(BIN)/python scripts/rule_pages.py

recipes: $(VENV)/.run  ## write docs/recipes.md from the fields of a recipe
	$(BIN)/python scripts/recipe_page.py

wild: $(VENV)/.run  ## check every file of a folder and write a table of the findings: make wild DIR
	@$(BIN)/python scripts/wild.py $(filter-out wild,$(MAKECMDGOALS))

emoji: $(VENV)/.emoji  ## render the embedded data set again; needs Debian's fonts-noto-color-emoji
	$(BIN)/python scripts/render_emoji.py

train: $(VENV)/.run  ## train the embedded model from scratch
	$(BIN)/unnoise train recipes/emoji.toml

clean:  ## remove the environment, caches and out/; runs/ stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist out

$(BIN)/python:
	@for candidate in $(CANDIDATES); do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "$$candidate -m venv $(VENV)"; \
			"$$candidate" -m venv $(VENV) && exit 0; rm -rf $(VENV); exit 1; \
		fi; \
	done; \
	echo "unnoise needs Python 3.11 or newer; tried: $(CANDIDATES). Name another: make PYTHON=/path/to/python" >&2; \
	exit 1

# A stamp records what is installed; it is out of date when pyproject.toml or constraints.txt is newer.
$(VENV)/.build: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing pinned packages into $(VENV); torch alone can be hundreds of megabytes"
	$(INSTALL) hatchling editables
	@touch $@

$(VENV)/.run: $(VENV)/.build
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.build
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.bench: $(VENV)/.build
	$(INSTALL) --editable '.[bench]'
	@touch $@ $(VENV)/.run

$(VENV)/.emoji: $(VENV)/.build
	$(INSTALL) --editable '.[emoji]'
	@touch $@ $(VENV)/.run
