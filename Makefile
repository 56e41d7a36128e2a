# Few targets, the same for people and for CI. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= $(shell for name in python3 python3.11 python3.12 python3.13; do $$name -c \
	'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$name && break; done)
VENV := .venv
INSTALLED := $(VENV)/.installed
UV := $(shell command -v uv 2>/dev/null)
PACKAGES := blocks tasks flows deployments
TYPED_TESTS := tests.blocks tests.drills tests.flows tests.standins

.PHONY: help env lock up down demo test drills check bench clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

env: $(INSTALLED) ## install everything that requirements.txt pins into .venv

# Compiled on installation: `import prefect` takes twice as long without bytecode.
# Without dependencies: requirements.txt has them all, and pip would choose some anew for their extras.
$(INSTALLED): requirements.txt pyproject.toml
ifneq ($(UV),)
	test -x $(VENV)/bin/python || uv venv --python $(or $(PYTHON),3.11) $(VENV)
	uv pip sync --python $(VENV)/bin/python --compile-bytecode --require-hashes requirements.txt
	uv pip install --python $(VENV)/bin/python --no-deps --no-build-isolation -e .
else
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed." >&2; exit 1; }
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/pip install --quiet --no-deps --require-hashes -r requirements.txt
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation -e .
	env -u PYTHONDONTWRITEBYTECODE $(VENV)/bin/python -m compileall -q $(VENV)/lib || true
endif
	env -u PYTHONDONTWRITEBYTECODE $(VENV)/bin/python -m compileall -q $(PACKAGES)
	touch $@

# Solved in a folder of its own, where no earlier lock narrows the choice. Without registry
# addresses the lock works with any package index.
lock: ## choose the newest versions that pyproject.toml allows, and pin them
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	cp pyproject.toml README.md LICENSE "$$folder"; \
	(cd "$$folder" && uv lock --quiet \
	  && sed -i -e 's|registry = "https://[^"]*"|registry = ".wheels"|' \
	            -e 's|{ url = "https://[^"]*/\([^"/]*\)"|{ path = "\1"|' uv.lock \
	  && uv export --quiet --frozen --no-emit-project --no-annotate --no-header -o requirements.txt); \
	cp "$$folder/uv.lock" "$$folder/requirements.txt" .

up: env ## start the embedded stack
	$(VENV)/bin/backstop up

down: ## end the embedded stack
	test ! -x $(VENV)/bin/backstop || $(VENV)/bin/backstop down

demo: env ## see a good release deployed, and a bad one caught and rolled back
	$(VENV)/bin/backstop demo

test: env ## run the tests, on real services
	$(VENV)/bin/pytest tests/browser # alone: a browser on a busy machine misses what it waits for
	$(VENV)/bin/pytest --ignore tests/browser --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

drills: env ## the tests that take long: procedures killed at each of their steps, and more
	$(VENV)/bin/pytest -m drill

check: env ## style, types, and the direction of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy $(addprefix -p ,$(PACKAGES) $(TYPED_TESTS))
	cd deployments/shop/service && $(CURDIR)/$(VENV)/bin/mypy shop migrations
	$(VENV)/bin/lint-imports

bench: env ## measure what the documentation claims
	$(VENV)/bin/python -m tests.benchmarks

clean: down ## end the stack and remove what was built, but no data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
