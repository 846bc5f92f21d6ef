test: env  ## test signals, loader, model, training and evaluation, after a change of yours
	$(BIN)/python -m pytest -n 2 tests
