# make              run the chapter once; print the reported numbers beside the reproduced ones
# make test         run the quick tests
# make test-slow    run all tests (an hour)
# make lint         check style and format (ruff) and imports (import-linter)
# make reference    run every variant with twenty seeds; write docs/reference (up to an hour)
# make leaderboard  rank every system over five seeds, and the control; write docs/leaderboard
#                   (an hour)
# make exercises    answer the chapter's exercises; write docs/exercises.md (up to an hour)
# make baseline     write the files again that ports are compared with (an hour or more)
# make ports        check the PyTorch and JAX ports in .venv-ports (about half an hour)
# make bench        time the chapter's own code and this project's code (about 45 minutes)
# make bench-pytorch  time an epoch of this project and of PyTorch (about half an hour)
# make clean        remove .venv, .venv-ports, results and caches; keep the fetched data
#
# PYTHON=... chooses the interpreter. MXNet 1.9.1 needs Python 3.8-3.11.

.DEFAULT_GOAL := reproduce
.PHONY: reproduce reference leaderboard exercises baseline ports test test-slow lint bench bench-pytorch clean

VENV := .venv
RUN := $(VENV)/bin/python
COMMAND := $(VENV)/bin/d2l-recsys
READY := $(VENV)/ready

# With Python's cache of compiled modules, a script starts in half the time.
unexport PYTHONDONTWRITEBYTECODE

reproduce: $(READY)
	@$(COMMAND) reproduce --seeds 1

# The tests compare later runs with docs/reference/reference.json.
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

exercises: $(READY)
	@$(COMMAND) exercise all
	@rm -rf docs/exercises
	@cd results/exercises && cp -r exercises.md exercises ../../docs

baseline: $(READY)
	@$(COMMAND) baseline make

# PyTorch and JAX need a current numpy and MXNet needs an old one, so the ports have their own
# environment.
PORTS := .venv-ports
SEEDS := 10

ports: $(PORTS)/ready
	@for port in pytorch jax; do \
	    echo "ports.$$port"; $(PORTS)/bin/d2l-recsys baseline check ports.$$port --models all --seeds $(SEEDS) || exit; \
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

bench-pytorch: $(READY) $(PORTS)/ready
	$(RUN) -m benchmarks.against_pytorch

clean:
	rm -rf $(VENV) $(PORTS) results build *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Make .venv again if PYTHON= names another interpreter than the one that made it.
ifneq ($(PYTHON),)
ifneq ($(PYTHON),$(shell cat $(VENV)/made-with 2>/dev/null))
.PHONY: remake
remake:
$(READY): remake
endif
endif

# Make .venv from scratch if the requirements change, so that no package stays that is no longer
# required.
$(READY): setup.py make-venv.sh
	@./make-venv.sh $(VENV) "$(PYTHON)"
	@touch $@
