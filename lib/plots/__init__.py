"""The lessons' figures, a module per notebook; each function returns a `lib.figures.Picture`."""
