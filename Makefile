NAME ?= default
# The newest Python that is here; PYTHON=name or PYTHON=path chooses another.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))
PYTHON ?= $(shell for name in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	$$name -c "$(SUPPORTED)" 2>/dev/null && echo $$name && break; done)
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.PHONY: help env run test units pythons publish site pdf student benchmark machines studies reference constraints lint lab watch clean

help:  ## show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 14

env: $(VENV)/installed  ## make .venv with the pinned versions

# An environment that is not finished, or that another PYTHON= than the given one has made, is made anew.
ifneq ($(origin PYTHON),file)
VERSION := -c "import sys; print(sys.version)"
ifneq ($(shell "$(PYTHON)" $(VERSION) 2>/dev/null),$(shell $(BIN)/python $(VERSION) 2>/dev/null))
.PHONY: $(VENV)/installed
endif
endif

$(VENV)/installed: pyproject.toml constraints.txt
	@"$(or $(PYTHON),python3)" -c "$(SUPPORTED)" 2>/dev/null || { echo "Python 3.11 to 3.14 is needed, under a name as python3.13; or give its path: make $(MAKECMDGOALS) PYTHON=path"; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

run: env  ## execute the notebooks in order into runs/$(NAME)/
	$(BIN)/python -m lib run --name $(NAME)

test: env lint  ## lint, static types, unit and browser tests, notebooks against their committed outputs
	$(BIN)/python -m pytest -n 2 --dist loadfile tests

units: env  ## the unit tests that need neither a browser nor a run of the notebooks
	$(BIN)/python -m pytest -m "not browser and not series" tests

pythons:  ## the same with each of Python 3.12 to 3.14 that is here, in .venv-3.12 and so on
	@for version in $(or $(PYTHONS),$(error Python 3.12, 3.13 or 3.14 is needed, under a name as python3.13)); do \
		$(MAKE) units PYTHON=python$$version VENV=.venv-$$version || exit 1; done
PYTHONS ?= $(shell for version in 3.12 3.13 3.14; do python$$version -c pass 2>/dev/null && echo $$version; done; true)

lint: env  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

publish: env  ## refresh the committed notebooks, figures, metrics and README from runs/$(NAME)/
	$(BIN)/python -m lib publish --name $(NAME)

site: env  ## render the notebooks as a static site, build/site/index.html
	$(BIN)/python -m lib site

pdf: env  ## print the notebooks as one booklet, build/booklet.pdf (needs Chromium)
	$(BIN)/python -m lib pdf

student: env  ## copy everything but the solutions to build/student/ and build/student.zip
	$(BIN)/python -m lib student

reference: env  ## train the shipped reference checkpoint again
	$(BIN)/python -m lib reference

studies: env  ## compute again the results that take longer than a notebook should
	$(BIN)/python -m lib studies

machines: env  ## execute the series under each arithmetic that this machine can show (an hour or two)
	$(BIN)/python tests/machines.py

benchmark: env  ## throughput of a batch of 200 runs against bare papermill
	$(BIN)/python tests/benchmark_batch.py

constraints: env  ## write the installed versions into constraints.txt; what other Pythons and systems need stays
	$(BIN)/python -m pip freeze --local --all --exclude pip --exclude-editable | sed 's/+cpu$$//' > $(VENV)/freeze.txt
	cat $(VENV)/freeze.txt constraints.txt | awk -F== '!seen[$$1]++' | LC_ALL=C sort -f > $(VENV)/constraints.txt
	mv $(VENV)/constraints.txt constraints.txt

lab: env  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

watch: env  ## drive the widgets in a visible browser, slowly (needs chromium and a screen)
	WATCH=1 $(BIN)/python -m pytest tests/test_browser.py

clean:  ## remove the environment, caches and build products; keeps runs/
	rm -rf .venv* build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
