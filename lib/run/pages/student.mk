PYTHON ?= python3.11
NAME ?= default
BIN := .venv/bin

.PHONY: help env lab run test clean

help:  ## show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

env: .venv/installed  ## make .venv with the pinned versions

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

lab: env  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

run: env  ## execute the notebooks in order into runs/$(NAME)/
	$(BIN)/python -m lib run --name $(NAME)

test: env  ## test signals, loader, model, training and evaluation, after a change of yours
	$(BIN)/pytest -n 2 tests

clean:  ## remove the environment and caches; keeps runs/
	rm -rf .venv *.egg-info .pytest_cache .hypothesis
