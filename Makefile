# make            the chapter on this machine: reported beside reproduced
# make test       the test suite; make test-slow adds what takes minutes
# make lint       ruff: style and format
# make bench      the chapter's own code against this project's (about half an hour)
# make clean      remove .venv, results and caches; fetched data stays
#
# PYTHON=... chooses the interpreter (3.8-3.11, which MXNet 1.9.1 needs).

.DEFAULT_GOAL := reproduce
.PHONY: reproduce test test-slow lint bench clean

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/ready

# Python's cache of compiled modules halves the time a script takes to start.
unexport PYTHONDONTWRITEBYTECODE

# Each section's run is named by the folder it leaves.
RUNS := $(patsubst %,results/%/seed-0,mf mf-random autorec neumf caser \
	fm fm-defined deepfm deepfm-defined)

reproduce: $(READY)
	@$(RUN) chapters/movielens.py --quiet
	@$(RUN) chapters/ctr.py --quiet
	@$(MAKE) --no-print-directory -j 2 $(RUNS)
	@$(RUN) -m d2l_recsys.report results/movielens results/ctr $(RUNS)

# Whether the book's clicks can be had has been found out once.
CLICKS = --dataset $(shell grep -q '"name": "ctr"' results/ctr/result.json && echo book || echo movielens)
results/mf-random/seed-0: OPTIONS := --split random
results/fm/seed-0 results/deepfm/seed-0: OPTIONS = $(CLICKS)
results/fm-defined/seed-0 results/deepfm-defined/seed-0: OPTIONS = $(CLICKS) --protocol defined
.PHONY: $(RUNS)
$(RUNS): results/%/seed-0:
	@echo "training $*"
	@$(RUN) chapters/$(firstword $(subst -, ,$*)).py --quiet $(OPTIONS) --out $@

test: $(READY)
	$(RUN) -m pytest -n 2

test-slow: $(READY)
	$(RUN) -m pytest -m "slow or not slow"

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

bench: $(READY)
	$(RUN) -m benchmarks.against_d2l

clean:
	rm -rf $(VENV) results build *.egg-info .pytest_cache .ruff_cache .hypothesis
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
