# Everything sets itself up in .venv; wanted are only make, Python 3.11 or newer, and its pip.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(name) -c 'import sys, venv, ensurepip; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)) python3)
PIP = -m pip --disable-pip-version-check --no-input
BIN := .venv/bin
READY := .venv/.ready
BENCH_READY := .venv-bench/.ready
KAFKA = $(BIN)/python tests/kafka_tier/apache_kafka.py
# Two files at a time, from the folders that have such tests: reading all the others in would take longer than some do.
PAIRED = -n 2 --dist loadfile -o testpaths="$(sort $(dir $(shell grep -rlE --include='*.py' '$(1)' tests/*/)))"
ON_KAFKA = $(BIN)/pytest -m kafka $(call PAIRED,mark\.kafka|broker: str)
UV_COMPILE = uv pip compile pyproject.toml --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-header --quiet $(ARGS)

.PHONY: help setup demo test test-kafka test-chaos test-differential bench bench-alarms compare-dmarc lint lock clean

help: ## What there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with everything pinned in it

demo: $(READY) ## Simulated SES traffic, end to end, on this machine (ARGS=--once: to the end, then exit)
	$(BIN)/ses-streams demo $(ARGS)

test: $(READY) ## The default tests (ARGS=… goes to pytest)
	$(BIN)/pytest -m "not kafka and not chaos" -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-kafka: $(READY) ## The integration tests on Apache Kafka: KAFKA_BROKER, else one started here (Java 17, Maven)
	@if [ -n "$$KAFKA_BROKER" ]; then $(ON_KAFKA) $(ARGS); \
	elif $(KAFKA) fetch >/dev/null; then $(KAFKA) run $(ON_KAFKA) $(ARGS); \
	elif [ -n "$$CI" ]; then echo "make test-kafka is never skipped in CI" >&2; exit 1; \
	else echo "Skipped: the tests on Apache Kafka did not run."; fi

test-chaos: $(READY) ## Kill processes at random moments and compare (CHAOS_SEEDS=20: ten times as often)
	$(BIN)/pytest -m chaos $(call PAIRED,mark\.chaos) $(ARGS)

test-differential: $(READY) ## Count millions of events as they stream and by plain SQL (EVENTS=3000000)
	EVENTS=$(or $(EVENTS),3000000) $(BIN)/pytest -m chaos tests/end_to_end/test_differential.py $(ARGS)

bench: $(BENCH_READY) ## Events per second and core, beside Quix Streams
	.venv-bench/bin/python bench/run.py $(ARGS)

bench-alarms: $(READY) ## How rarely alarms are wrong, how soon they are right (ARGS=--quick: in a minute)
	$(BIN)/python bench/alarms.py $(ARGS)

compare-dmarc: $(READY) .venv-parsedmarc/.ready ## What we read in DMARC and TLS reports, beside parsedmarc (ARGS=FOLDER)
	$(BIN)/python bench/compare_dmarc.py $(ARGS)

lint: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lock: ## Pin every package again, with hashes (wants uv)
	@command -v uv >/dev/null || { echo "make lock wants uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	$(UV_COMPILE) --extra embedded --group dev --output-file requirements.lock
	@# uv keeps what an output file pins already, so the other two agree with the first wherever they can.
	cp requirements.lock requirements-bench.lock
	$(UV_COMPILE) --extra embedded --group dev --group bench --output-file requirements-bench.lock
	cp requirements.lock deploy/requirements.lock
	$(UV_COMPILE) --output-file deploy/requirements.lock

clean: ## Remove what was made here
	rm -rf .venv .venv-bench .venv-parsedmarc build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis bench/results

# $(call environment,folder,lock)
define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "SES Streams needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Setting up $(1) …"
	$(PYTHON) -m venv $(1)
	$(1)/bin/python $(PIP) install --quiet --require-hashes -r $(2)
	$(1)/bin/python $(PIP) install --quiet --no-deps -e .
	@touch $(1)/.ready
endef

# Without what it depends on: its client of Kafka would be ours. See bench/dmarc_reference.py.
.venv-parsedmarc/.ready: bench/parsedmarc.txt
	$(PYTHON) -m venv .venv-parsedmarc
	.venv-parsedmarc/bin/python $(PIP) install --quiet --no-deps -r bench/parsedmarc.txt
	@touch $@

$(READY): requirements.lock pyproject.toml
	$(call environment,.venv,requirements.lock)

$(BENCH_READY): requirements-bench.lock pyproject.toml
	$(call environment,.venv-bench,requirements-bench.lock)
