# Everything starts from a bare checkout: each target sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
# Factories look into TLS: whom the system trusts decides, as it does for pip.
export UV_SYSTEM_CERTS ?= 1
# Hundreds of child processes: what was compiled once is kept, out of the way of the checkout.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/$(VENV)/bytecode
STAMP := $(VENV)/.installed
LOCK := --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet
# What a box carries of it, so that training, tests and Ansible stay off it.
BOX_EXTRAS := airflow ui
DEMO_DIR ?= .demo
DATA ?=
ARGS ?=
DEBIAN ?= 12
EVERY ?= 1
FILES ?= 100000
SEED ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo clean-demo test test-box test-schedule lint format faults fuzz soak bench bench-schedule bench-box bench-online bench-ui bench-reads bench-growth bench-peers flame tasks screenshots generate lock

help: ## Say what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install everything into .venv

$(UV):
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11 or newer, or say make PYTHON=/path/to/python3."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { echo "Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) -c 'import platform; print(platform.python_version())'): say make PYTHON=/path/to/python3.11."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)."; exit 1; }
	@echo "Setting up $(VENV) (about 1.5 GB, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(STAMP): requirements.lock pyproject.toml | $(UV)
	$(UV) pip install --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Run the plant, the appliance and its database on this machine (DATA=FILE, ARGS="--once --json")
	@$(BIN)/appliance demo --folder $(DEMO_DIR) $(if $(DATA),--data "$(DATA)") $(ARGS)

clean-demo: ## Remove the demo's one folder
	rm -rf -- "$(DEMO_DIR)"

test: $(STAMP) ## Pass the tests that this machine permits
	$(BIN)/python -m pytest -m "not faults and not box and not schedule" --numprocesses 2 --dist loadfile $(ARGS)

test-box: $(STAMP) ## Boot a Debian and test on it what needs a whole machine; as root (DEBIAN=12 or 13)
	APPLIANCE_BOX_DEBIAN=$(DEBIAN) $(BIN)/python -m pytest -m box --numprocesses 2 --dist loadfile $(ARGS)

test-schedule: $(STAMP) ## Run the box under a real scheduler for minutes, and kill it in the middle
	$(BIN)/python -m pytest -m schedule $(ARGS)

soak: export APPLIANCE_FAULTS_POWER_CUTS ?= 200
soak: export APPLIANCE_FAULTS_SEED ?= 20261129
soak: faults fuzz ## The long counts: a kill at every call, power cuts of 200 drives (APPLIANCE_FAULTS_SEED) and 30 boxes (APPLIANCE_BOX_SEED), 100,000 fuzzed files, 20,000 requests, all examples, Debian 13, 5 GB of CSV (80 GB of disk)
	APPLIANCE_TESTS_LONG=1 $(MAKE) test
	APPLIANCE_BOX_DEBIAN=13 APPLIANCE_BOX_POWER_CUTS=30 $(BIN)/python -m pytest -m box --capture=no $(ARGS)
	$(BIN)/python -m tests.bench.growth --rows 100000000

fuzz: $(STAMP) ## Let a fuzzer make files by the code that they reach: each must end in a verdict (FILES=100000 SEED=1)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-fuzz.lock
	$(BIN)/python -m tests.fuzz --files $(FILES) --seed $(SEED)

faults: $(STAMP) ## Kill passes at every mutating call, and count rows afterwards (EVERY=3: at one of three)
	APPLIANCE_FAULTS_EVERY=$(EVERY) $(BIN)/python -m pytest -m faults $(ARGS)

bench: $(STAMP) ## Time each step of a large file beside its limits (ARGS="--rows N", ARGS=--write renews the page)
	$(BIN)/python -m tests.bench $(ARGS)

bench-schedule: $(STAMP) ## Measure Airflow's tree and the way of a file through the schedule (ARGS="--parts idle flow --minutes 5 --write")
	$(BIN)/python -m tests.bench.schedule $(ARGS)

bench-box: $(STAMP) ## Set up a box and measure what it takes when idle; as root (ARGS=--write renews the page)
	$(BIN)/python -m tests.box.bench $(ARGS)

bench-online: $(STAMP) ## Measure single predictions over HTTP beside a durable commit (ARGS="--rounds 5 --write" renews the page)
	$(BIN)/python -m tests.bench.online $(ARGS)

bench-ui: $(STAMP) ## Measure the screens: memory, a file of a million rows, ten million predictions in Chromium (ARGS=--write)
	$(BIN)/python -m tests.bench.ui $(ARGS)

bench-reads: $(STAMP) ## Measure a page of past predictions out of ten million, question by question (ARGS="--patience 60 --write")
	$(BIN)/python -m tests.bench.reads $(ARGS)

bench-growth: $(STAMP) ## Measure files from 50 to 10,000,000 rows: time, memory, room (ARGS="--rows 1000000 100000000 --write")
	$(BIN)/python -m tests.bench.growth $(ARGS)

bench-peers: $(STAMP) ## Measure beside what others use, each installed in an environment of its own (ARGS="--patience 60 --write")
	$(BIN)/python -m tests.bench.peers $(ARGS)

flame: $(STAMP) ## Draw where the time of the road goes, function by function: docs/performance-road.svg
	$(BIN)/python -m tests.bench.flame $(ARGS)

tasks: $(STAMP) ## Do people's tasks in Chromium and renew docs/tasks.md with their taps and seconds
	$(BIN)/python -m tests.ui.browser.tasks

screenshots: $(STAMP) ## Renew docs/screenshots: every page in light, in dark and on a phone
	$(BIN)/python -m tests.ui.browser.pictures $(ARGS)

lint: $(STAMP) ## Check style, types, imports and generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	cd ansible && PATH="$(CURDIR)/$(BIN):$$PATH" ../$(BIN)/ansible-lint --offline -q

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: $(STAMP) ## Renew the files that are made from the code
	$(BIN)/python -m appliance.cli.settings_page > docs/settings.md
	$(BIN)/python -m grafana

lock: $(UV) ## Renew the locks: hashes, no addresses, Python 3.11 to 3.13
	$(UV) pip compile pyproject.toml --all-extras $(LOCK) -o requirements.lock
	$(UV) pip compile pyproject.toml $(addprefix --extra ,$(BOX_EXTRAS)) --constraint requirements.lock $(LOCK) -o requirements-box.lock
	$(UV) pip compile --group pyproject.toml:fuzz $(LOCK) -o requirements-fuzz.lock
