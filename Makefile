# Every target sets up what it needs: Python 3.11+ and make are enough to begin.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-cluster check format lint types layers fmt docs up down bench-ingress bench-ranker bench-tally bench-verify clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## make the virtual environment .venv

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@

demo: $(VENV)/.installed ## the whole bridge for 20 seconds, faults on the way, the books at the end
	@$(BIN)/bridge demo

test: $(VENV)/.installed ## all tests; Apache Kafka is started where Java 17 and Maven are there
	@$(BIN)/python -m pytest

test-cluster: $(VENV)/.installed ## the bridge on three brokers of which one dies, or is restarted
	@BRIDGE_TEST_BROKER=kafka $(BIN)/python -m pytest -m cluster

check: format lint types layers test ## everything that CI checks

format: $(VENV)/.installed ## is the code formatted?
	@$(BIN)/ruff format --check .

lint: $(VENV)/.installed ## ruff and codespell
	@$(BIN)/ruff check .
	@$(BIN)/codespell

types: $(VENV)/.installed ## mypy, strict
	@$(BIN)/mypy

layers: $(VENV)/.installed ## who may import whom
	@$(BIN)/lint-imports

fmt: $(VENV)/.installed ## format the code and mend what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

docs: $(VENV)/.installed ## write docs/events.md anew from the events' classes
	@$(BIN)/python -m bridge.telemetry > docs/events.md

up: ## the bridge beside Kafka with the simulators, in docker-compose
	@docker compose --profile simulators up --build --detach --wait

down: ## end it; what stands on its topics stays in the volume
	@docker compose --profile '*' down

bench-ingress: $(VENV)/.installed ## ingress beside the plainest loop that carries a frame, on real Kafka
	@$(BIN)/python -m bench.ingress

bench-ranker: $(VENV)/.installed ## the ranker beside the plainest exactly-once loop, on real Kafka
	@$(BIN)/python -m bench.hops ranker

bench-tally: $(VENV)/.installed ## the tally beside the same
	@$(BIN)/python -m bench.hops tally

bench-verify: $(VENV)/.installed ## bridge verify beside the plainest loop that reads the same topics
	@$(BIN)/python -m bench.verify

clean: ## remove what the targets made
	rm -rf $(VENV) tests/kafka/.jars .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
