PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := .venv/.ready

.PHONY: setup demo serve test lint bench replay lock
.DEFAULT_GOAL := setup

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make setup PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	@echo 'Setting up in .venv, once; it takes one to two minutes.'
	@echo '1/4 a virtual environment'
	@$(PYTHON) -m venv .venv
	@echo '2/4 the libraries of requirements.lock, each checked by its hash'
	@$(PIP) install --quiet --require-hashes --requirement requirements.lock
	@echo '3/4 the gateway itself'
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@echo '4/4 the file of the embedder, checked by its hash'
	@$(BIN)/python -m feedback_gateway.embedded.fetch
	@touch $@

demo: setup
	$(BIN)/feedback-gateway demo

serve: setup
	$(BIN)/feedback-gateway serve

test: setup
	$(BIN)/python -m pytest --cov --cov-report=term:skip-covered

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

bench: setup
	$(BIN)/python -m tests.benchmarks
	$(BIN)/python -m tests.benchmarks.gateways
	$(BIN)/python -m tests.benchmarks.storage
	$(BIN)/python -m tests.benchmarks.books
	$(BIN)/python -m tests.benchmarks.ratelimits
	$(BIN)/python -m tests.benchmarks.cache
	$(BIN)/python -m tests.benchmarks.usage
	$(BIN)/python -m tests.benchmarks.retention
	$(BIN)/python -m tests.benchmarks.servers

replay: setup
	$(BIN)/python -m tests.llm.replay

# The lock is written with uv, which is needed for nothing else.
UV_COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-strip-extras pyproject.toml

lock:
	$(UV_COMPILE) > requirements.lock
	$(UV_COMPILE) --extra dev --constraint requirements.lock | awk 'NR == FNR { if (/^[a-z0-9]/) seen[$$1] = 1; next } /^[a-z0-9]/ { keep = !($$1 in seen) } keep' requirements.lock - > development.lock
	(echo '# development'; cat development.lock) >> requirements.lock
	rm development.lock
