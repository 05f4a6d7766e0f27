# make            the chapter on this machine: reported beside reproduced
# make test       the test suite; make test-slow adds what takes an hour
# make lint       ruff: style and format; import-linter: a file imports only from rooms below its own
# make reference  twenty seeds of everything into docs/reference (up to an hour)
# make leaderboard  every system over five seeds into docs/leaderboard, and the control (an hour)
# make baseline   what ports are held against, anew (an hour or more)
# make ports      the PyTorch and JAX ports, checked against it in .venv-ports (about half an hour)
# make bench      the chapter's own code against this project's (about half an hour)
# make clean      remove .venv, .venv-ports, results and caches; fetched data stays
#
# PYTHON=... chooses the interpreter (3.8-3.11, which MXNet 1.9.1 needs).

.DEFAULT_GOAL := reproduce
.PHONY: reproduce reference leaderboard baseline ports test test-slow lint bench clean

VENV := .venv
RUN := $(VENV)/bin/python
COMMAND := $(VENV)/bin/d2l-recsys
READY := $(VENV)/ready

# Python's cache of compiled modules halves the time a script takes to start.
unexport PYTHONDONTWRITEBYTECODE

reproduce: $(READY)
	@$(COMMAND) reproduce --seeds 1 --num-devices 1

# What later runs are held against: the numbers, and the report on them.
reference: $(READY)
	@$(COMMAND) reproduce --seeds 20 --results results/reference
	@rm -rf docs/reference && mkdir -p docs/reference
	@cp -r results/reference/figures results/reference/report.md docs/reference
	@cp results/reference/numbers.json docs/reference/reference.json

leaderboard: $(READY)
	@$(COMMAND) leaderboard
	@$(COMMAND) leaderboard --seeds 1 --shuffled
	@mkdir -p docs/leaderboard/control
	@cd results/leaderboard && cp leaderboard.md leaderboard.png numbers.json ../../docs/leaderboard
	@cd results/leaderboard/shuffled && \
	    cp leaderboard.md leaderboard.png numbers.json ../../../docs/leaderboard/control

baseline: $(READY)
	@$(COMMAND) baseline make

# Not with .venv: torch and JAX need a current numpy, MXNet an old one.
PORTS := .venv-ports
SEEDS := 10

ports: $(PORTS)/ready
	@for port in pytorch jax; do \
	    echo "ports.$$port"; $(PORTS)/bin/d2l-recsys baseline check ports.$$port --seeds $(SEEDS) || exit; \
	done

$(PORTS)/ready: setup.py ports/requirements.txt
	@echo "making $(PORTS) with PyTorch and JAX; this takes a few minutes"
	@rm -rf $(PORTS) && $(or $(PYTHON),python3) -m venv $(PORTS)
	@$(PORTS)/bin/python -m pip install -qq --disable-pip-version-check --upgrade pip
	@$(PORTS)/bin/python -m pip install -qq --disable-pip-version-check -r ports/requirements.txt -e .
	@touch $@

test: $(READY)
	$(RUN) -m pytest -n 2

test-slow: $(READY)
	$(RUN) -m pytest -n 2 -m "slow or not slow"

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(VENV)/bin/lint-imports

bench: $(READY)
	$(RUN) -m benchmarks.against_d2l

clean:
	rm -rf $(VENV) $(PORTS) results build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# PYTHON= asks for another interpreter than the one .venv was made with: make it anew.
ifneq ($(PYTHON),)
ifneq ($(PYTHON),$(shell cat $(VENV)/made-with 2>/dev/null))
.PHONY: remake
remake:
$(READY): remake
endif
endif

# Made anew whenever the requirements change: what they no longer name is then gone as well.
$(READY): setup.py make-venv.sh
	@./make-venv.sh $(VENV) "$(PYTHON)"
	@touch $@
