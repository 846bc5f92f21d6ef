test: env  ## test signals, loader, model, training, evaluation and instruments
	$(BIN)/python -m pytest -n 2 tests
