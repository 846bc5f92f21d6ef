PYTHON ?= python3.11
NAME ?= default
BIN := .venv/bin

.PHONY: help env run test publish site pdf student benchmark studies reference lint lab watch clean

help:  ## show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

env: .venv/installed  ## make .venv with the pinned versions

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

run: env  ## execute the notebooks in order into runs/$(NAME)/
	$(BIN)/python -m lib run --name $(NAME)

test: env lint  ## lint, static types, unit and browser tests, notebooks against their committed outputs
	$(BIN)/pytest -n 2 --dist loadfile tests
	$(BIN)/pytest -n 2 --dist loadfile --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks

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

benchmark: env  ## throughput of a batch of 200 runs against bare papermill
	$(BIN)/python tests/benchmark_batch.py

lab: env  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

watch: env  ## drive the widgets in a visible browser, slowly (needs chromium and a screen)
	WATCH=1 $(BIN)/pytest tests/test_browser.py

clean:  ## remove the environment, caches and build products; keeps runs/
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
