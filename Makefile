# Two commands:  make lab   make test        All of them:  make help

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=

# Keep freed memory for the next tensor (see mvit_lib/memory.py); measured in benchmarks/.
ifeq ($(shell uname -s),Linux)
export MALLOC_MMAP_MAX_ := 0
export MALLOC_TRIM_THRESHOLD_ := 2147483647
endif

.DEFAULT_GOAL := help
.PHONY: lab test prove notebooks figures runs references bench badges site lint help

lab: $(VENV)/.installed-course  ## open the course in JupyterLab (ARGS="--no-browser --port 9999" passes through)
	$(BIN)/jupyter lab --ip=127.0.0.1 $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS) notebooks/00_start_here.ipynb

test: $(VENV)/.installed-test  ## everything CI checks: lint, unit tests, notebooks, one browser test
	$(BIN)/python tools/suite.py test $(ARGS)

prove: $(VENV)/.installed-test $(VENV)/.installed-site  ## the long proofs: solutions injected, wheel, memory, site, browser tests
	$(BIN)/python tools/suite.py prove $(ARGS)

notebooks: $(VENV)/.installed-test  ## run every notebook and store its outputs (ARGS="00 06" for some)
	OMP_NUM_THREADS=1 $(BIN)/python tools/notebooks.py execute $(ARGS)

figures: $(VENV)/.installed-test  ## draw the pictures of figures/ again
	OMP_NUM_THREADS=1 $(BIN)/python tools/figures.py

runs: $(VENV)/.installed-test  ## train every row of the runs table that is not recorded yet
	$(BIN)/python tools/runs.py $(ARGS)

references: $(VENV)/.installed-test  ## record the answers of other libraries that the notebooks show
	$(BIN)/python tools/references.py

bench: $(VENV)/.installed-test  ## measure speed and memory, write benchmarks/results.* (ARGS=--vit: against a ViT, for notebook 07)
	$(BIN)/python benchmarks/run.py $(ARGS)

badges: $(VENV)/.installed-test  ## write the repository's address from pyproject.toml into the notebooks
	$(BIN)/python tools/notebooks.py badges

site: $(VENV)/.installed-site  ## build the course as a static site: site/build/html/index.html
	OMP_NUM_THREADS=1 $(BIN)/python site/make.py

lint: $(VENV)/.installed-test  ## ruff: lint and format
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, {sys.executable} is {v[0]}.{v[1]}: make lab PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-course: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[course]'
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[course,hub,peers,dev]'
	@touch $@ $(VENV)/.installed-course

$(VENV)/.installed-site: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[course,site]'
	@touch $@
